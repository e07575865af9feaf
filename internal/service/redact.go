package service

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
)

const redacted = "xxxxx"

var (
	// userinfo matches the part before the host of a URL, also of a malformed one: up to the last @ of
	// the word.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>]*@`)
	// secretParameter matches a query parameter whose name says that its value is secret.
	secretParameter = regexp.MustCompile(
		`(?i)([?&][^\s"'<>=&#]*(?:token|secret|passw|pwd|key|sig|auth|credential|ticket)[^\s"'<>=&#]*=)[^\s"'<>&#]+`)
)

// Redact replaces the secrets in every URL of a text by xxxxx: user and password, and the values of query
// parameters with names such as token, key or password.
func Redact(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	text = userinfo.ReplaceAllString(text, "${1}"+redacted+"@")
	return secretParameter.ReplaceAllString(text, "${1}"+redacted)
}

// RedactAttr is a slog.HandlerOptions.ReplaceAttr that redacts URLs in the values of attributes.
func RedactAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); strings.Contains(s, "://") {
			a.Value = slog.StringValue(Redact(s))
		}
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case url.URL:
			a.Value = slog.StringValue(Redact(v.String()))
		case error:
			a.Value = slog.StringValue(Redact(v.Error()))
		default:
			if shown := fmt.Sprint(v); strings.Contains(shown, "://") {
				a.Value = slog.StringValue(Redact(shown))
			}
		}
	}
	return a
}

// HTTPURL parses the http or https URL of a setting. Its error shows no secret of the URL, as one of url.Parse
// would.
func HTTPURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", Redact(raw))
	}
	return u, nil
}

// commandLine serves /debug/pprof/cmdline with the URLs in the arguments redacted.
func commandLine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	args := make([]string, len(os.Args))
	for i, arg := range os.Args {
		args[i] = Redact(arg)
	}
	_, _ = fmt.Fprint(w, strings.Join(args, "\x00"))
}
