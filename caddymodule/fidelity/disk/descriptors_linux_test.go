package disk

import (
	"fmt"
	"net"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A process that has used up its file descriptors stays alive, and works again as
// soon as there are some. A spool file needs one: without it an upload that needs
// a file is rejected, and a response stays in memory. Nothing else changes for
// requests on existing connections.
func TestUsedUpDescriptors(t *testing.T) {
	const descriptors = 100
	d := newDiskStage(t, t.TempDir(), site.Limits{OpenFiles: descriptors})
	url, clients := "https://"+d.Addr, d.Clients()
	for _, c := range clients { // each has its connection, and so has the upstream
		d.works(t, c, url, largeBody)
	}
	testkit.Eventually(t, func() bool { files, _ := d.Spooled(d.dir); return files == 0 })
	before := len(d.OpenFiles())
	for range 3 {
		crowd := d.crowd(t, descriptors)
		testkit.Eventually(t, func() bool { return len(d.OpenFiles()) >= descriptors })
		for version, c := range clients {
			if version != "h1" { // it would lose its connection with the rejection
				d.refuses(t, c, url)
			}
			d.works(t, c, url, smallBody)
			if n, err := d.download(t, c, url, largeBody); n != largeBody || err != nil {
				t.Errorf("%s: a download ended after %d bytes, %v", version, n, err)
			}
		}
		for _, conn := range crowd {
			conn.Close()
		}
		testkit.Eventually(t, func() bool { return len(d.OpenFiles()) <= before })
		for _, c := range clients {
			d.works(t, c, url, largeBody)
		}
	}
	d.wantLog(t, d.dir, "too many open files")
	d.atRest(t)
}

// crowd opens connections that the server holds, or does not get to accept.
func (d *diskStage) crowd(t *testing.T, n int) []net.Conn {
	t.Helper()
	var all []net.Conn
	for range n {
		conn, err := net.Dial("tcp", d.Clear)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: waits\r\n") // the rest never comes
		all = append(all, conn)
	}
	return all
}
