package export

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// settings are the environment variables of OpenTelemetry's exporters that apply besides the command's own settings:
// OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY (OpenTelemetry
// specification, "OTLP Exporter Configuration").
type settings struct {
	header       http.Header
	timeout      time.Duration // of one request
	compress     bool
	roots        *x509.CertPool // nil: the machine's
	certificates []tls.Certificate
}

// setting returns the value and the name of an environment variable. One that is for traces only comes before one that
// is for all signals.
func setting(name string) (value, variable string) {
	for _, variable = range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
		if value = strings.TrimSpace(os.Getenv(variable)); value != "" {
			return value, variable
		}
	}
	return "", variable
}

// fromEnvironment reads the settings. Its error joins all problems. It shows no values, because headers are secrets.
func fromEnvironment() (settings, error) {
	s := settings{header: http.Header{}, timeout: exportTimeout}
	var problems []error
	wrong := func(variable string, why any) { problems = append(problems, fmt.Errorf("%s: %v", variable, why)) }

	headers, variable := setting("HEADERS")
	for pair := range strings.SplitSeq(headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil {
			wrong(variable, "a list of name=value, with the values escaped as in URLs, is needed")
			break
		}
		s.header.Set(strings.TrimSpace(name), value)
	}
	if value, variable := setting("TIMEOUT"); value != "" {
		ms, err := strconv.ParseUint(value, 10, 31)
		if err != nil || ms == 0 {
			wrong(variable, "a number of milliseconds above 0 is needed")
		}
		s.timeout = time.Duration(ms) * time.Millisecond
	}
	value, variable := setting("COMPRESSION")
	switch value {
	case "", "none":
	case "gzip":
		s.compress = true
	default:
		wrong(variable, "gzip or none is needed")
	}
	if file, variable := setting("CERTIFICATE"); file != "" {
		text, err := os.ReadFile(file)
		s.roots = x509.NewCertPool()
		if err == nil && !s.roots.AppendCertsFromPEM(text) {
			err = errors.New("there is no certificate in that file")
		}
		if err != nil {
			wrong(variable, err)
		}
	}
	own, variable := setting("CLIENT_CERTIFICATE")
	key, _ := setting("CLIENT_KEY")
	if own != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(own, key)
		if err != nil {
			wrong(variable, err)
		}
		s.certificates = []tls.Certificate{pair}
	}
	return s, errors.Join(problems...)
}
