// SPDX-License-Identifier: Apache-2.0
/** The smallest Java program, with its arguments. */
public final class Hello {
  public static void main(String[] args) {
    System.out.println("hello, world");
    for (String arg : args) System.out.println("arg " + arg);
    System.exit(args.length);
  }
}
