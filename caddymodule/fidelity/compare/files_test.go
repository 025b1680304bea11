package compare

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// site of files: a page, a template, a large file, one that is compressed already.
func files(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, _ = zip.Write([]byte("body { }"))
	_ = zip.Close()
	for name, content := range map[string][]byte{
		"index.html":     []byte("<html>index</html>"),
		"page.html":      []byte("<p>{{.Req.Method}} {{.Req.URL.Path}} {{.OriginalReq.URL}} {{placeholder \"http.request.host\"}}</p>"),
		"body.html":      []byte("<p>{{placeholder \"http.request.body\"}}</p>"),
		"broken.html":    []byte("<p>{{.Missing}}</p>"),
		"a.txt":          pattern(10000),
		"empty.txt":      nil,
		"large.bin":      pattern(2 * mib),
		"a.css":          []byte("body { }"),
		"a.css.gz":       zipped.Bytes(),
		".hidden":        []byte("no"),
		"dir/index.html": []byte("<html>dir</html>"),
		"list/one.txt":   []byte("1"),
		"list/two.txt":   []byte("2"),
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompareFileServer(t *testing.T) {
	tag := `"dd3iv67m8"`
	trials := []trial{
		{name: "a page", request: get("/")},
		{name: "a file", request: get("/a.txt")},
		{name: "an empty file", request: get("/empty.txt")},
		{name: "a large file", request: get("/large.bin")},
		{name: "a folder", request: get("/dir/")},
		{name: "a folder without its slash", request: get("/dir")},
		{name: "a file with a slash", request: get("/a.txt/")},
		{name: "nothing", request: get("/nothing.txt")},
		{name: "a hidden file", request: get("/.hidden")},
		{name: "a way out", request: get("/../../etc/passwd")},
		{name: "HEAD", request: request{method: "HEAD", target: "/a.txt"}},
		{name: "HEAD of nothing", request: request{method: "HEAD", target: "/nothing"}},
		{name: "POST", request: request{method: "POST", target: "/a.txt", body: sized(10)}},
		{name: "a range", request: get("/a.txt", "Range: bytes=100-199")},
		{name: "a range of a large file", request: get("/large.bin", "Range: bytes=1000000-")},
		{name: "two ranges", request: get("/a.txt", "Range: bytes=0-9,100-109")},
		{name: "a range beyond the end", request: get("/a.txt", "Range: bytes=20000-")},
		{name: "if the range is of this tag", request: get("/a.txt", "Range: bytes=0-9", "If-Range: "+tag)},
		{name: "if there is another", request: get("/a.txt", "If-None-Match: "+tag)},
		{name: "if it has changed", request: get("/a.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT")},
		{name: "if it has not changed", request: get("/a.txt", "If-Unmodified-Since: Sat, 08 Sep 2001 01:46:40 GMT")},
		{name: "compressed before", request: get("/a.css", "Accept-Encoding: gzip")},
		{name: "compressed before, not accepted", request: get("/a.css", "Accept-Encoding: br")},
		{name: "compressed before, HEAD", request: request{method: "HEAD", target: "/a.css", fields: []string{"Accept-Encoding: gzip"}}},
		{name: "a list", request: get("/list/")},
		{name: "a list as JSON", request: get("/list/", "Accept: application/json")},
	}
	for i := range trials {
		trials[i].normal = sameChance
		trials[i].traits = unmeasured // lists are
	}
	root := "root * " + files(t) + "\n"
	compareRoutes(t, routeTrials{
		"with lists": {"OFFLOAD\n" + root + "file_server {\nprecompressed gzip\nbrowse\n}", trials},
		"with error routes": {"OFFLOAD\n" + root + `
			file_server
			handle_errors {
				respond "{err.status_code} {path}" {err.status_code}
			}`, trials},
		"with try_files": {"OFFLOAD\n" + root + "try_files {path} {path}.txt /index.html\nfile_server", trials},
	})
}

func TestCompareTemplates(t *testing.T) {
	trials := []trial{
		{name: "a page", request: get("/page.html?a=b")},
		{name: "HEAD", request: request{method: "HEAD", target: "/page.html"}},
		{name: "a body", request: request{method: "POST", target: "/body.html", body: sized(100)}},
		{name: "what fails", request: get("/broken.html")},
		{name: "nothing", request: get("/nothing.html")},
		{name: "another type", request: get("/a.txt")},
		{name: "a large file", request: get("/large.bin")},
		{name: "a range", request: request{target: "/page.html", fields: []string{"Range: bytes=0-3"}}},
	}
	root := "root * " + files(t) + "\n"
	compareRoutes(t, routeTrials{
		"in front": {"route {\n" + root + "templates\nOFFLOAD\nfile_server\n}", trials},
		"behind":   {"route {\n" + root + "OFFLOAD\ntemplates\nfile_server\n}", trials},
		"usual":    {root + "templates\nOFFLOAD\nfile_server", trials},
	})
}
