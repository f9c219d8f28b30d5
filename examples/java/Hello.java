// SPDX-License-Identifier: Apache-2.0
// javac Hello.java && km java Hello
import java.util.stream.IntStream;

public class Hello {
  public static void main(String[] args) {
    long sum = IntStream.rangeClosed(1, 1_000_000).parallel().asLongStream().sum();
    System.out.println("Hello from Java " + System.getProperty("java.version") + "; the sum is " + sum);
  }
}
