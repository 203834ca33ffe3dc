// The AWS SDK for Java 2.x: the synchronous client, and for uploads in parts
// the asynchronous one. Prints one line of JSON for each operation.
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

public class Drive {
  interface Operation {
    Map<String, Object> run() throws Exception;
  }

  static final String bucket = System.getenv("CLIENT_BUCKET");
  static final String prefix = System.getenv("CLIENT_PREFIX");
  static final String source = System.getenv("CLIENT_SOURCE");
  static final URI endpoint = URI.create(System.getenv("CLIENT_ENDPOINT"));
  static final S3Client s3 = S3Client.builder().endpointOverride(endpoint).forcePathStyle(true).build();

  public static void main(String[] args) {
    Map<String, Operation> operations = Map.of(
        "put", Drive::put, "stream", Drive::stream, "multipart", Drive::multipart, "copy", Drive::copy,
        "presign", Drive::presign, "list", Drive::list, "odd", Drive::odd);
    print(Map.of("op", "version", "version", VersionInfo.SDK_VERSION));
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

  static Map<String, Object> put() throws Exception {
    s3.putObject(r -> r.bucket(bucket).key(prefix + "put.csv"), RequestBody.fromBytes(content("small.csv")));
    return fetch(prefix + "put.csv", "put.csv");
  }

  static Map<String, Object> stream() throws Exception {
    byte[] small = content("small.csv");
    InputStream once = new FilterInputStream(new ByteArrayInputStream(small)) {
      @Override
      public boolean markSupported() {
        return false;
      }
    };
    s3.putObject(r -> r.bucket(bucket).key(prefix + "stream.csv"), RequestBody.fromInputStream(once, small.length));
    return fetch(prefix + "stream.csv", "stream.csv");
  }

  static Map<String, Object> multipart() throws Exception {
    try (S3AsyncClient async = S3AsyncClient.builder().endpointOverride(endpoint).forcePathStyle(true)
        .multipartEnabled(true).multipartConfiguration(c -> c.minimumPartSizeInBytes(5L << 20).thresholdInBytes(5L << 20)).build()) {
      String key = prefix + "multipart.csv";
      async.putObject(r -> r.bucket(bucket).key(key), AsyncRequestBody.fromBytes(content("big.csv"))).join();
      keep("multipart.csv", async.getObject(r -> r.bucket(bucket).key(key), AsyncResponseTransformer.toBytes()).join().asByteArray());
    }
    return Map.of();
  }

  static Map<String, Object> copy() throws Exception {
    s3.copyObject(r -> r.sourceBucket(bucket).sourceKey(source).destinationBucket(bucket).destinationKey(prefix + "copy.csv"));
    return fetch(prefix + "copy.csv", "copy.csv");
  }

  static Map<String, Object> presign() {
    S3Configuration path = S3Configuration.builder().pathStyleAccessEnabled(true).build();
    try (S3Presigner presigner = S3Presigner.builder().endpointOverride(endpoint).serviceConfiguration(path).build()) {
      return Map.of("url", presigner.presignGetObject(p -> p.signatureDuration(Duration.ofMinutes(5))
          .getObjectRequest(r -> r.bucket(bucket).key(source))).url().toString());
    }
  }

  static Map<String, Object> list() throws Exception {
    return keepList(System.getenv("CLIENT_MANY"), "list");
  }

  static Map<String, Object> odd() throws Exception {
    Map<String, Object> errors = new LinkedHashMap<>();
    for (JsonNode node : JsonNode.parser().parse(content("odd.json")).asArray()) {
      String name = node.asString();
      try {
        s3.putObject(r -> r.bucket(bucket).key(prefix + "odd/" + name), RequestBody.fromBytes(content("odd/" + name)));
        fetch(prefix + "odd/" + name, "odd/" + name);
      } catch (Exception e) {
        errors.put(name, e.toString());
      }
    }
    keepList(prefix + "odd/", "odd.list");
    return Map.of("errors", errors);
  }

  static byte[] content(String name) throws Exception {
    return Files.readAllBytes(Path.of(System.getenv("CLIENT_FILES"), name));
  }

  static Map<String, Object> fetch(String key, String name) throws Exception {
    keep(name, s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asByteArray());
    return Map.of();
  }

  static void keep(String name, byte[] body) throws Exception {
    Path path = Path.of(System.getenv("CLIENT_OUT"), name);
    Files.createDirectories(path.getParent());
    Files.write(path, body);
  }

  static Map<String, Object> keepList(String under, String name) throws Exception {
    List<String> keys = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(under)).contents().stream().map(S3Object::key).toList();
    keep(name, keys.stream().map(k -> k + "\n").collect(Collectors.joining()).getBytes(StandardCharsets.UTF_8));
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
