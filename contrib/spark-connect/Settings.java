package dev.carnet.spark;

import java.util.Locale;
import java.util.regex.Pattern;

/** What a connection to a shared Spark may set: how its queries run, and its own keys for S3. No class of its choice is loaded. */
final class Settings {
  private static final Pattern OWN = Pattern.compile("fs\\.s3a\\.(bucket\\.[a-z0-9.-]+\\.)?(access\\.key|secret\\.key)");
  private static final Pattern QUERIES = Pattern.compile("spark\\.sql\\.(?!catalog|extensions|hive|warehouse|artifact|sources\\.|streaming|queryExecution|udf|pyspark)[A-Za-z0-9.]+");

  private Settings() {}

  static boolean may(String key) {
    return OWN.matcher(key).matches() || QUERIES.matcher(key).matches();
  }

  /** Options of a read or write reach Hadoop too, where names with a dot choose file systems, keys and classes. */
  static boolean mayBeOption(String key) {
    String name = key.toLowerCase(Locale.ROOT);
    return !name.contains(".") && !name.endsWith("class");
  }
}
