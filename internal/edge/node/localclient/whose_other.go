//go:build !linux

package localclient

import (
	"io/fs"
	"net"
	"runtime"
)

// ownable: files have owners here.
const ownable = runtime.GOOS != "windows"

// trusted goes by who may write in the socket's folder, which dial asked: the other
// end can't be seen here.
func trusted(net.Conn, string, fs.FileInfo) error { return nil }
