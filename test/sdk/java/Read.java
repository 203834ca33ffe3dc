// The AWS SDK for Java 2.x, with nothing but its environment: who it is, what it
// lists and reads, and how it is refused. Prints one JSON object.
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.sts.StsClient;

public class Read {
  public static void main(String[] args) {
    try (S3Client s3 = S3Client.builder().forcePathStyle(true).build(); // hosts like sales.localhost are not found everywhere
        StsClient sts = StsClient.create()) {
      long keys = s3.listObjectsV2Paginator(r -> r.bucket("sales").prefix("orders/")).contents().stream().count();
      int bytes = s3.getObjectAsBytes(r -> r.bucket("sales").key("products/products.csv")).asByteArray().length;
      String refused = "allowed";
      try {
        s3.getObjectAsBytes(r -> r.bucket("hr").key("salaries/2025.csv"));
      } catch (S3Exception e) {
        refused = e.awsErrorDetails().errorCode();
      }
      System.out.printf("{\"version\":\"%s\",\"arn\":\"%s\",\"keys\":%d,\"bytes\":%d,\"refused\":\"%s\"}%n",
          VersionInfo.SDK_VERSION, sts.getCallerIdentity().arn(), keys, bytes, refused);
    }
  }
}
