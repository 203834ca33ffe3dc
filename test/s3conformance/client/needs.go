//go:build tools

// What minio-go's functional tests and the versitygw program import, so that
// this module's go.sum has their sums. Nothing here is built.
package main

import (
	_ "github.com/dustin/go-humanize"
	_ "github.com/google/uuid"
	_ "github.com/minio/minio-go/v7"
	_ "github.com/minio/minio-go/v7/pkg/cors"
	_ "github.com/minio/minio-go/v7/pkg/credentials"
	_ "github.com/minio/minio-go/v7/pkg/encrypt"
	_ "github.com/minio/minio-go/v7/pkg/notification"
	_ "github.com/minio/minio-go/v7/pkg/tags"
	_ "github.com/versity/versitygw/cmd/versitygw"
)
