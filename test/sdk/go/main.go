// The AWS SDK for Go v2, with nothing but its environment: who it is, what it
// lists and reads, and how it is refused. Prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

func main() {
	ctx := context.Background()
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	who, err := sts.NewFromConfig(c).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		log.Fatal(err)
	}
	// Hosts like sales.localhost are not found everywhere.
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	keys := 0
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String("sales"), Prefix: aws.String("orders/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			log.Fatal(err)
		}
		keys += len(page.Contents)
	}
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("products/products.csv")})
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(object.Body)
	if err != nil {
		log.Fatal(err)
	}
	refused := "allowed"
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("hr"), Key: aws.String("salaries/2025.csv")})
	var e smithy.APIError
	if errors.As(err, &e) {
		refused = e.ErrorCode()
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"version": aws.SDKVersion, "arn": *who.Arn, "keys": keys, "bytes": len(body), "refused": refused})
}
