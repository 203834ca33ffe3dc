// Package signing signs S3 requests with the temporary keys of a role session,
// the way any AWS client does. `carnet dev` walks its own path with it.
//
// It must never be used towards a store: the gateway's own key signs there.
package signing

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/core/credential"
)

// unsigned says that the body is not part of the signature (S3 API Reference,
// "Authenticating Requests"). The requests signed here have none.
const unsigned = "UNSIGNED-PAYLOAD"

// S3 signs a request without a body for S3 in a region.
func S3(ctx context.Context, req *http.Request, keys credential.Temporary, region string, now time.Time) error {
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	return signer.SignHTTP(ctx, aws.Credentials{
		AccessKeyID:     keys.AccessKeyID,
		SecretAccessKey: keys.SecretAccessKey.Reveal(),
		SessionToken:    keys.SessionToken.Reveal(),
	}, req, unsigned, "s3", region, now)
}
