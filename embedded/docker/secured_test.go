package docker

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// isSecured looks for what a service can do that it must not: read another's secrets, speak to others without them, and
// do in Kafka what another role may.
func isSecured(t *testing.T, c compose) {
	t.Helper()
	project := strings.TrimPrefix(c.env[0], "COMPOSE_PROJECT_NAME=")
	for service, volume := range map[string]string{
		"gateway": "keys-gateway", "tracker-1": "keys-tracker", "tracker-2": "keys-tracker",
		"processor-default": "keys-processor-default", "processor-reports": "keys-processor-reports",
		"processor-webhooks": "keys-processor-webhooks", "kafka-1": "keys-kafka", "lb": "keys-lb",
		"prometheus": "keys-metrics",
	} {
		mounts := strings.Fields(command{}.told(t, "docker", "inspect", "-f",
			"{{range .Mounts}}{{if .Name}}{{.Name}}:{{.RW}} {{end}}{{end}}", c.containers(t, service)[0]))
		secrets := slices.DeleteFunc(mounts, func(m string) bool { return !strings.Contains(m, "_keys") })
		if want := project + "_" + volume + ":false"; len(secrets) != 1 || secrets[0] != want {
			t.Errorf("%s has the secrets %v, want %s", service, secrets, want)
		}
	}

	// A request without the token or the secret is refused.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for listener, path := range map[string]string{
		"gateway:8081": "/metrics", "tracker-1:8091": "/metrics", "processor-default:8101": "/metrics",
		"tracker-1:8090": trackerpbconnect.TrackerGetProcedure,
	} {
		service, port, _ := strings.Cut(listener, ":")
		address := command{}.told(t, "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
			c.containers(t, service)[0])
		for scheme, want := range map[string][]int{"https": {401, 403}, "http": {400}} {
			resp, err := client.Post(scheme+"://"+net.JoinHostPort(address, port)+path, "application/json",
				strings.NewReader("{}"))
			if path == "/metrics" && err == nil {
				_ = resp.Body.Close()
				resp, err = client.Get(scheme + "://" + net.JoinHostPort(address, port) + path)
			}
			if err != nil {
				if scheme == "https" {
					t.Errorf("%s: %v", listener, err)
				}
				continue
			}
			_ = resp.Body.Close()
			if !slices.Contains(want, resp.StatusCode) {
				t.Errorf("%s over %s without the token or secret: %s", listener, scheme, resp.Status)
			}
		}
	}
	as := func(user, volume string, args ...string) string {
		all := append([]string{"run", "--rm", "--network", project + "_default", "-v", project + "_" + volume + ":/keys:ro",
			prefix + "ackwire:latest"}, args...)
		all = append(all, "--kafka=kafka-1:9092")
		if user != "" {
			all = append(all, "--kafka-tls", "--kafka-tls-ca=/keys/ca.pem", "--kafka-sasl=scram-sha-512", "--kafka-user="+user,
				"--kafka-password-file=/keys/kafka.password")
		}
		out, errs, code, err := command{}.run(t.Context(), root(t), "docker", all...)
		return fmt.Sprintf("%d %v %s %s", code, err, out, errs)
	}
	const worker, commands = "keys-processor-default", "keys-cli"
	if got := as("", worker, "dead", "list"); !strings.HasPrefix(got, "1 ") && !strings.HasPrefix(got, "2 ") {
		t.Errorf("a broker answers without TLS: %s", got)
	}
	if got := as("ackwire-processor-default", worker, "topics", "apply"); !strings.Contains(got,
		"ackwire-processor-default may not make topics and permissions") {
		t.Errorf("a worker makes permissions: %s", got)
	}
	if got := as("ackwire-cli", worker, "dead", "list"); !strings.Contains(got, "refused user ackwire-cli") {
		t.Errorf("a worker's password is another user's: %s", got)
	}
	if got := as("ackwire-cli", commands, "dead", "list"); !strings.HasPrefix(got, "0 ") {
		t.Errorf("the command line does not list dead letters: %s", got)
	}
}
