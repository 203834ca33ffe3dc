package gateway_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
)

// A store that does not know encoding-type, and one that does.
const (
	plainPage   = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Contents><Key>a b+c%41 &amp; d</Key></Contents></ListBucketResult>`
	encodedPage = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a+b%2Bc</Key></Contents></ListBucketResult>`
)

// Clients such as DuckDB ask for encoded keys and decode what comes, whatever
// it says of itself.
func TestListingIsEncodedAsAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ target, store, want string }{
		"asked":               {"/sales?list-type=2&encoding-type=url", plainPage, `<Key>a%20b%2Bc%2541%20%26%20d</Key></Contents><EncodingType>url</EncodingType>`},
		"asked, version 1":    {"/sales?encoding-type=url", plainPage, `<Key>a%20b%2Bc%2541%20%26%20d</Key>`},
		"versions":            {"/sales?versions&encoding-type=url", strings.ReplaceAll(plainPage, "ListBucketResult", "ListVersionsResult"), `<Key>a%20b%2Bc%2541%20%26%20d</Key>`},
		"not asked":           {"/sales?list-type=2", plainPage, plainPage},
		"the store did it":    {"/sales?list-type=2&encoding-type=url", encodedPage, encodedPage},
		"another document":    {"/sales/k?uploadId=u&encoding-type=url", plainPage, plainPage},
		"unfinished uploads":  {"/sales?uploads&encoding-type=url", strings.ReplaceAll(plainPage, "ListBucketResult", "ListMultipartUploadsResult"), `<EncodingType>url</EncodingType></ListMultipartUploadsResult>`},
		"what can't be read ": {"/sales?list-type=2&encoding-type=url", `<ListBucketResult><Contents><Key>`, `<Code>ServiceUnavailable</Code>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := before(t, func(*s3.Outgoing) (*http.Response, error) {
				return response(200, c.store, http.Header{"Content-Type": {"application/xml"}, "Content-Length": {strconv.Itoa(len(c.store))}}), nil
			}, nil)
			if _, body := send(t, w.request(t, "GET", c.target, "", nil)); !strings.Contains(body, c.want) {
				t.Errorf("answered %s", body)
			}
		})
	}
}
