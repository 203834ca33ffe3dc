package dataset_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"carnet.dev/carnet/internal/app/dev/dataset"
)

func TestEveryMachineHasTheSameBytes(t *testing.T) {
	objects, err := dataset.Build()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	rows := 0
	for _, o := range objects {
		fmt.Fprintf(h, "%s/%s %d\n", o.Bucket, o.Key, len(o.Body))
		h.Write(o.Body)
		if bytes.HasPrefix(o.Body, []byte("order_id")) {
			rows += bytes.Count(o.Body, []byte("\n")) - 1
		}
	}
	if rows != dataset.Orders {
		t.Errorf("%d orders: want %d", rows, dataset.Orders)
	}
	const want = "5dac26185a5e6ded69dfcb684c447b9c2e2490b6f54c3453466f6d24781b3b9d"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("digest %s: want %s", got, want)
	}
}
