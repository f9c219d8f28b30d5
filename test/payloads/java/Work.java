// SPDX-License-Identifier: Apache-2.0
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/** Eight threads, a collector kept busy, faults turned into exceptions, files, digests. Argument: rounds. */
public final class Work {
  private static final AtomicLong TOTAL = new AtomicLong();

  private static long churn(int worker, int rounds) {
    long sum = 0;
    List<byte[]> kept = new ArrayList<>();
    for (int i = 0; i < rounds; i++) {
      byte[] block = new byte[16 * 1024];
      block[i % block.length] = (byte) worker;
      if (i % 16 == 0) kept.add(block);
      if (kept.size() > 64) kept.clear();
      sum += block[i % block.length];
    }
    TOTAL.addAndGet(sum);
    return sum;
  }

  private static void threads(int rounds) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    List<Future<Long>> results = new ArrayList<>();
    for (int w = 1; w <= 8; w++) {
      final int worker = w;
      results.add(pool.submit((Callable<Long>) () -> churn(worker, rounds)));
    }
    for (Future<Long> result : results) System.out.println("worker " + result.get());
    pool.shutdown();
    System.gc();
    System.out.println("total " + TOTAL.get());
  }

  private static int depth(int n) {
    return depth(n + 1) + 1;
  }

  // HotSpot turns SIGSEGV and SIGFPE, and the guard pages of a stack, into these.
  private static void faults() {
    Object nothing = System.getenv("NO_SUCH_VARIABLE_AT_ALL");
    try {
      System.out.println(nothing.hashCode());
    } catch (NullPointerException e) {
      System.out.println("null pointer");
    }
    try {
      System.out.println(1 / (System.getenv().size() - System.getenv().size()));
    } catch (ArithmeticException e) {
      System.out.println(e.getMessage());
    }
    try {
      System.out.println(depth(0));
    } catch (StackOverflowError e) {
      System.out.println("stack overflow");
    }
  }

  public static void main(String[] args) throws Exception {
    int rounds = args.length > 0 ? Integer.parseInt(args[0]) : 2000;
    threads(rounds);
    faults();
    Path file = Files.createTempFile("km-java", null);
    Files.writeString(file, "text");
    System.out.println(Files.readString(file) + " " + Files.size(file));
    Files.delete(file);
    byte[] digest = MessageDigest.getInstance("SHA-256").digest("java".getBytes(StandardCharsets.UTF_8));
    System.out.println(HexFormat.of().formatHex(digest));
  }
}
