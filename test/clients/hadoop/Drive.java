// Hadoop's S3A file system, as Spark uses it. Prints one line of JSON for each
// operation.
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.util.VersionInfo;

public class Drive {
  interface Operation {
    Map<String, Object> run() throws Exception;
  }

  static final String root = "s3a://" + System.getenv("CLIENT_BUCKET") + "/";
  static final String prefix = System.getenv("CLIENT_PREFIX");
  static final String source = System.getenv("CLIENT_SOURCE");
  static final Configuration conf = new Configuration();
  static FileSystem fs;

  public static void main(String[] args) throws Exception {
    settings();
    fs = FileSystem.get(URI.create(root), conf);
    Map<String, Operation> operations = Map.of(
        "put", Drive::put, "stream", Drive::stream, "multipart", Drive::multipart, "copy", Drive::copy,
        "presign", Drive::presign, "list", Drive::list, "odd", Drive::odd);
    print(Map.of("op", "version", "version", VersionInfo.getVersion()));
    for (String op : args) {
      Map<String, Object> line = new LinkedHashMap<>(Map.of("op", op));
      try {
        line.putAll(operations.get(op).run());
      } catch (Exception e) {
        e.printStackTrace();
        line.put("error", e.toString());
      }
      print(line);
    }
  }

  static void settings() {
    conf.set("fs.s3a.endpoint", System.getenv("CLIENT_ENDPOINT"));
    conf.set("fs.s3a.endpoint.region", System.getenv("AWS_REGION"));
    conf.set("fs.s3a.path.style.access", "true");
    conf.set("hadoop.tmp.dir", System.getenv("CLIENT_OUT") + "/hadoop");
    conf.set("fs.s3a.multipart.size", "5M");
    conf.set("fs.s3a.multipart.threshold", "5M");
    if (System.getenv("AWS_ACCESS_KEY_ID") != null) {
      conf.set("fs.s3a.access.key", System.getenv("AWS_ACCESS_KEY_ID"));
      conf.set("fs.s3a.secret.key", System.getenv("AWS_SECRET_ACCESS_KEY"));
    }
    if (System.getenv("CLIENT_PROVIDER") != null) {
      conf.set("fs.s3a.aws.credentials.provider", System.getenv("CLIENT_PROVIDER"));
    }
    String token = System.getenv("AWS_SESSION_TOKEN");
    if (token != null) {
      conf.set("fs.s3a.session.token", token);
    }
  }

  static Path place(String name) throws Exception {
    // Of its parts, so that Path does not read the name as an address.
    return new Path(new URI("s3a", System.getenv("CLIENT_BUCKET"), "/" + prefix + name, null, null));
  }

  static Map<String, Object> put() throws Exception {
    write("put.csv", content("small.csv"));
    return fetch("put.csv");
  }

  static Map<String, Object> stream() throws Exception {
    InputStream once = new ByteArrayInputStream(content("small.csv"));
    try (FSDataOutputStream out = fs.create(place("stream.csv"), true)) {
      byte[] buffer = new byte[10_000];
      for (int n = once.read(buffer); n > 0; n = once.read(buffer)) {
        out.write(buffer, 0, n);
      }
    }
    return fetch("stream.csv");
  }

  static Map<String, Object> multipart() throws Exception {
    write("multipart.csv", content("big.csv"));
    return fetch("multipart.csv");
  }

  // Hadoop copies at the store where it renames, and nowhere else.
  static Map<String, Object> copy() throws Exception {
    write("renamed.csv", content("small.csv"));
    if (!fs.rename(place("renamed.csv"), place("copy.csv"))) {
      throw new IllegalStateException("rename says no");
    }
    return fetch("copy.csv");
  }

  static Map<String, Object> presign() throws Exception {
    return Map.of("url", fs.getClass().getMethod("presign", Path.class).invoke(fs, new Path(root + source)).toString());
  }

  static Map<String, Object> list() throws Exception {
    return keepList(new Path(root + System.getenv("CLIENT_MANY")), "list");
  }

  static Map<String, Object> odd() throws Exception {
    Map<String, Object> errors = new LinkedHashMap<>();
    for (String name : new String(content("odd.txt"), StandardCharsets.UTF_8).split("\n")) {
      try {
        write("odd/" + name, content("odd/" + name));
        fetch("odd/" + name);
      } catch (Exception e) {
        errors.put(name, e.toString());
      }
    }
    keepList(place("odd"), "odd.list");
    return Map.of("errors", errors);
  }

  static void write(String name, byte[] body) throws Exception {
    try (FSDataOutputStream out = fs.create(place(name), true)) {
      out.write(body);
    }
  }

  static byte[] content(String name) throws Exception {
    return Files.readAllBytes(java.nio.file.Path.of(System.getenv("CLIENT_FILES"), name));
  }

  static Map<String, Object> fetch(String name) throws Exception {
    try (InputStream in = fs.open(place(name))) {
      keep(name, in.readAllBytes());
    }
    return Map.of();
  }

  static void keep(String name, byte[] body) throws Exception {
    java.nio.file.Path path = java.nio.file.Path.of(System.getenv("CLIENT_OUT"), name);
    Files.createDirectories(path.getParent());
    Files.write(path, body);
  }

  static Map<String, Object> keepList(Path under, String name) throws Exception {
    StringBuilder keys = new StringBuilder();
    RemoteIterator<LocatedFileStatus> files = fs.listFiles(under, true);
    while (files.hasNext()) {
      keys.append(files.next().getPath().toUri().getPath().substring(1)).append('\n');
    }
    keep(name, keys.toString().getBytes(StandardCharsets.UTF_8));
    return Map.of();
  }

  @SuppressWarnings("unchecked")
  static String json(Object value) {
    if (value instanceof Map) {
      return ((Map<String, Object>) value).entrySet().stream()
          .map(e -> json(e.getKey()) + ":" + json(e.getValue())).collect(Collectors.joining(",", "{", "}"));
    }
    StringBuilder b = new StringBuilder("\"");
    for (char c : value.toString().toCharArray()) {
      if (c == '"' || c == '\\' || c < ' ') {
        b.append(String.format("\\u%04x", (int) c));
      } else {
        b.append(c);
      }
    }
    return b.append('"').toString();
  }

  static void print(Map<String, Object> line) {
    System.out.println(json(line));
  }
}
