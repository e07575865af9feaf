package gateway

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// readable refuses a path or a query that is not UTF-8, or cannot be decoded, before anybody is
// asked about it: nothing of ours has such a name, and no tracker could be told of it.
func (g *Gateway) readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.QueryUnescape(r.URL.RawQuery)
		switch {
		case err != nil:
			g.unreadable(w, "the query could not be read: "+err.Error())
		case !utf8.ValidString(query):
			g.unreadable(w, "the query is not UTF-8")
		case !utf8.ValidString(r.URL.Path):
			g.unreadable(w, "the path is not UTF-8")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (g *Gateway) unreadable(w http.ResponseWriter, detail string) {
	g.problem(w, frame.NewProblem(code.InvalidFrame, strings.ToValidUTF8(detail, "\uFFFD")))
	g.metrics.request(otherRoute, http.StatusBadRequest, 0, false)
}

// written returns the values of a parameter as they are written, repeated or with commas between
// them: a comma of a value itself is escaped (%2C), as in a URI's reserved characters (RFC 3986 §2.2).
func written(rawQuery, name string) []string {
	var values []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, list, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		for v := range strings.SplitSeq(list, ",") {
			if v, err := url.QueryUnescape(v); err == nil { // readQuery has seen to it
				values = append(values, v)
			}
		}
	}
	return values
}
