package origin

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// Set are the origins whose pages may use the gateway, as --allowed-origins names them.
type Set []pageOrigin

// pageOrigin is one entry of --allowed-origins, or a page's origin. An entry is https://app.example, with an optional
// port, or without the scheme, which means http and https. In the host * stands for any characters, dots too, and as
// the port for any port. A port that is left out is the scheme's own. The entry * alone means every origin but null.
type pageOrigin struct {
	scheme string // empty for http and https
	host   string // in lower case and ASCII
	port   string
	any    bool // the entry is *
}

// Parse reads the entries of --allowed-origins.
func Parse(entries []string) (all Set, err error) {
	for _, entry := range entries {
		o, err := parse(entry)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

var (
	errNoOrigin  = errors.New("it is not an origin, such as https://app.example or https://*.app.example:8443")
	errWideGlob  = errors.New("a * in its last label, or in a part of the one before, would be for hosts of anybody")
	errIDNOrigin = errors.New("a label of its host is not a name, or has a * beside characters that are not ASCII")
)

// Check returns what is wrong with an entry of --allowed-origins, or nil.
func Check(entry string) error {
	_, err := parse(entry)
	return err
}

func parse(entry string) (o pageOrigin, err error) {
	if entry == "*" {
		return pageOrigin{any: true}, nil
	}
	rest := entry
	if scheme, after, ok := strings.Cut(entry, "://"); ok {
		o.scheme, rest = strings.ToLower(scheme), after
		if !isScheme(o.scheme) {
			return o, errNoOrigin
		}
	}
	host, port, ok := splitHost(rest)
	if !ok || strings.ContainsAny(host, "/?#@%\\ \t") || port != "*" && !isPort(port) {
		return o, errNoOrigin
	}
	o.port = port
	if o.host, err = asciiHost(host); err != nil {
		return o, err
	}
	return o, wideGlob(o.host)
}

// splitHost splits HOST or HOST:PORT; the host may be an IPv6 address in brackets, which it keeps.
func splitHost(s string) (host, port string, ok bool) {
	end := strings.LastIndexByte(s, ']') + 1
	if (end > 0) != strings.HasPrefix(s, "[") || strings.Count(s, "[") > 1 {
		return "", "", false
	}
	host = s[:end]
	name, port, colon := strings.Cut(s[end:], ":")
	host += name
	return host, port, host != "" && (end == 0 || name == "") && (!colon || port != "")
}

func isScheme(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

func isPort(s string) bool { return len(s) <= 5 && strings.Trim(s, "0123456789") == "" }

// asciiHost returns a host as browsers write it in an Origin: in lower case, with internationalized names in punycode.
func asciiHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		return strings.ToLower(host), nil
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		var err error
		switch ascii := strings.IndexFunc(label, func(r rune) bool { return r > '~' || r < '!' }) < 0; {
		case label == "":
			return "", errNoOrigin
		case ascii:
			labels[i] = strings.ToLower(label)
		case strings.Contains(label, "*"):
			return "", errIDNOrigin
		default:
			if labels[i], err = idna.Lookup.ToASCII(label); err != nil {
				return "", errIDNOrigin
			}
		}
	}
	return strings.Join(labels, "."), nil
}

// wideGlob refuses a * that hosts of other owners would match: *example.com is for evilexample.com, too.
func wideGlob(host string) error {
	labels := strings.Split(host, ".")
	last := len(labels) - 1
	switch {
	case strings.Contains(labels[last], "*"):
		return errWideGlob
	case last > 0 && labels[last-1] != "*" && strings.Contains(labels[last-1], "*"):
		return errWideGlob
	}
	return nil
}

// defaultPort returns the port of a scheme that URLs leave out.
func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// Names reports whether the header Origin of a request names one of the origins.
func (all Set) Names(header string) bool {
	page, ok := pageOf(header)
	if !ok {
		return false
	}
	for _, o := range all {
		if o.matches(page) {
			return true
		}
	}
	return false
}

func (o pageOrigin) matches(page pageOrigin) bool {
	if o.any {
		return true
	}
	port := o.port
	if port == "" {
		port = defaultPort(page.scheme)
	}
	switch {
	case o.scheme == "" && page.scheme != "http" && page.scheme != "https":
		return false
	case o.scheme != "" && o.scheme != page.scheme:
		return false
	}
	return (port == "*" || port == page.port) && glob(o.host, page.host)
}

// pageOf reads the header Origin, strictly: what is not exactly SCHEME://HOST[:PORT] is no origin, and neither is null,
// which browsers send for pages without one. Its port is never left out.
func pageOf(header string) (page pageOrigin, ok bool) {
	u, err := url.Parse(header)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || !strings.EqualFold(u.Scheme+"://"+u.Host, header) {
		return pageOrigin{}, false
	}
	host, port, ok := splitHost(strings.ToLower(u.Host))
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return pageOrigin{scheme: u.Scheme, host: host, port: port}, ok
}

// glob reports whether a host matches a pattern, in which each * stands for any characters.
func glob(pattern, host string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == host
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(host) < len(first)+len(last) || !strings.HasPrefix(host, first) || !strings.HasSuffix(host, last) {
		return false
	}
	host = host[len(first) : len(host)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(host, part)
		if at < 0 {
			return false
		}
		host = host[at+len(part):]
	}
	return true
}

// Allow reports whether a page may open a socket: one of the gateway's own host, or of a configured origin.
// Programs other than browsers send no Origin (RFC 6455 §10.2), and are allowed.
func (all Set) Allow(r *http.Request) bool {
	sent := r.Header.Values("Origin")
	switch len(sent) {
	case 0:
		return true
	case 1:
		return ownPage(r, sent[0]) || all.Names(sent[0])
	}
	return false
}

// ownPage reports whether an origin is the one at which the request reached the gateway. Its scheme is known only if
// the gateway itself speaks TLS: before one that does not, a load balancer may.
func ownPage(r *http.Request, header string) bool {
	page, ok := pageOf(header)
	if !ok || r.TLS != nil && page.scheme != "https" {
		return false
	}
	host, port, ok := splitHost(strings.ToLower(r.Host))
	if port == "" {
		port = defaultPort(page.scheme)
	}
	return ok && page.host == host && page.port == port
}
