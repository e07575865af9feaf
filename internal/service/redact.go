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
	// userinfo is what stands before the host of a URL, also of one that is not well formed: up to
	// the last @ of the word.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>]*@`)
	// secretParameter is a parameter of a URL whose name says that its value is secret.
	secretParameter = regexp.MustCompile(
		`(?i)([?&][^\s"'<>=&#]*(?:token|secret|passw|pwd|key|sig|auth|credential|ticket)[^\s"'<>=&#]*=)[^\s"'<>&#]+`)
)

// Redact takes the secrets out of every URL in a text: users and passwords, and the values of
// parameters that are named as secrets are.
func Redact(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	text = userinfo.ReplaceAllString(text, "${1}"+redacted+"@")
	return secretParameter.ReplaceAllString(text, "${1}"+redacted)
}

// RedactAttr is a slog.HandlerOptions.ReplaceAttr: nothing that is logged shows the secrets of a URL.
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

// HTTPURL parses the http or https URL of a setting. The error shows no secret that is in it:
// url.Parse would quote what it could not read.
func HTTPURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not an http or https URL", Redact(raw))
	}
	return u, nil
}

// commandLine is /debug/pprof/cmdline without the secrets of URLs in the arguments.
func commandLine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	args := make([]string, len(os.Args))
	for i, arg := range os.Args {
		args[i] = Redact(arg)
	}
	_, _ = fmt.Fprint(w, strings.Join(args, "\x00"))
}
