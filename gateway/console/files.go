package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed assets/*.gz
var assets embed.FS

// content is all that the console serves.
type content struct {
	files map[string]*file // by their names
	// The page's HTML at the console's root, and one level below it.
	atRoot, below *file
}

var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// file is a file of the page, compressed by gzip.
type file struct {
	kind   string
	packed []byte
	tag    string
	plain  func() ([]byte, error)
}

func newFile(name string, packed []byte) *file {
	return &file{
		kind: types[path.Ext(name)], packed: packed, tag: tagOf(packed),
		plain: sync.OnceValues(func() ([]byte, error) { return unpack(packed) }),
	}
}

// load reads the embedded files, once.
var load = sync.OnceValue(func() *content {
	c := &content{files: map[string]*file{}}
	entries, err := assets.ReadDir("assets")
	for _, e := range entries {
		var packed []byte
		if packed, err = assets.ReadFile("assets/" + e.Name()); err != nil {
			break
		}
		name := strings.TrimSuffix(e.Name(), ".gz")
		if name != "index.html" {
			c.files[name] = newFile(name, packed)
			continue
		}
		if c.atRoot, err = shellFor(packed, "."); err != nil {
			break
		}
		if c.below, err = shellFor(packed, ".."); err != nil {
			break
		}
	}
	if err == nil && c.below == nil {
		err = fmt.Errorf("index.html is not among the %d files", len(entries))
	}
	if err != nil {
		panic("console: embedded files: " + err.Error())
	}
	return c
})

// shellFor returns the page's HTML with the way from it to the console's root.
func shellFor(packed []byte, base string) (*file, error) {
	text, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(bytes.ReplaceAll(text, []byte("BASE/"), []byte(base+"/")))
	if err != nil {
		return nil, err
	}
	err = w.Close()
	return newFile("index.html", b.Bytes()), err
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// serve answers with the file, or with 304 if the client has it.
func (f *file) serve(w http.ResponseWriter, r *http.Request, caching string) {
	h := w.Header()
	h.Set("Cache-Control", caching)
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	body, tag := f.packed, `"`+f.tag+`-gzip"`
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
	} else {
		plain, err := f.plain()
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		body, tag = plain, `"`+f.tag+`"`
	}
	h.Set("ETag", tag)
	if has(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// takesGzip reports whether a client takes gzip (RFC 9110 §12.5.3).
func takesGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "gzip" && name != "*" {
				continue
			}
			_, q, weighed := strings.Cut(weight, "=")
			if v, err := strconv.ParseFloat(strings.TrimSpace(q), 64); !weighed || err == nil && v > 0 {
				return true
			}
		}
	}
	return false
}

// has reports whether If-None-Match names a tag (RFC 9110 §13.1.2).
func has(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == tag {
			return true
		}
	}
	return false
}
