package api

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// readable refuses requests whose path or query cannot be decoded or is not UTF-8: no resource has such a name, and it
// could not be sent to a tracker.
func (d *door) readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.QueryUnescape(r.URL.RawQuery)
		switch {
		case err != nil:
			d.unreadable(w, "the query could not be read: "+err.Error())
		case !utf8.ValidString(query):
			d.unreadable(w, "the query is not UTF-8")
		case !utf8.ValidString(r.URL.Path):
			d.unreadable(w, "the path is not UTF-8")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (d *door) unreadable(w http.ResponseWriter, detail string) {
	d.problem(w, frame.NewProblem(code.InvalidFrame, strings.ToValidUTF8(detail, "\uFFFD")))
	d.cfg.Metrics.Request(otherRoute, http.StatusBadRequest, 0, false)
}

// written returns the values of a parameter that may be repeated, and may have several values separated by commas. A
// comma within a value is escaped (%2C), as RFC 3986 §2.2 says of reserved characters.
func written(rawQuery, name string) []string {
	var values []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, list, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		for v := range strings.SplitSeq(list, ",") {
			if v, err := url.QueryUnescape(v); err == nil { // readQuery has checked it
				values = append(values, v)
			}
		}
	}
	return values
}
