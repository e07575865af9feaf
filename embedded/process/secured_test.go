package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/schemas/job"
)

// secured is a broker with TLS and SCRAM, and the files of the services that use it.
type secured struct {
	broker *kafkatest.Secured
	ca     *certstest.CA
	dir    string
}

const kafkaUser = "ackwire"

// secretOf returns the n-th password.
func secretOf(n any) string { return fmt.Sprint("hunter", n) }

func startSecured(t testing.TB, c kafkatest.Credentials) *secured {
	t.Helper()
	kafkatest.Require(t)
	s := &secured{ca: certstest.NewCA(t), dir: t.TempDir()}
	c.Certificate, c.Key = s.ca.Issue(time.Hour, "127.0.0.1")
	c.CA = s.ca.PEM
	s.broker = kafkatest.StartSecured(t, c)
	s.ca.File(s.dir, "ca.pem")
	s.ca.Files(s.dir, "client", time.Hour)
	s.setPassword(t, secretOf(1))
	return s
}

// setPassword changes the password at the broker, and then in the services' file.
func (s *secured) setPassword(t testing.TB, password string) {
	t.Helper()
	s.broker.SetPassword(t, kafkaUser, password)
	certstest.Write(t, filepath.Join(s.dir, "password"), []byte(password+"\n"))
}

func (s *secured) flags() []string {
	file := func(name string) string { return filepath.Join(s.dir, name) }
	return []string{"--kafka-tls", "--kafka-tls-ca", file("ca.pem"), "--kafka-tls-cert", file("client.pem"),
		"--kafka-tls-key", file("client.key"), "--kafka-sasl", "scram-sha-512", "--kafka-user", kafkaUser,
		"--kafka-password-file", file("password")}
}

// front is a proxy whose connections can be cut.
type front struct {
	t  *testing.T
	to string
	l  net.Listener
	wg sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

// newFront listens; run serves.
func newFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &front{t: t, l: l, open: map[net.Conn]bool{}}
}

func (f *front) run(to string) {
	f.to = to
	f.wg.Go(func() {
		for {
			in, err := f.l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { f.join(in) })
		}
	})
	f.t.Cleanup(func() {
		_ = f.l.Close()
		f.cut()
		f.wg.Wait()
	})
}

func (f *front) join(in net.Conn) {
	out, err := net.Dial("tcp", f.to)
	if err != nil {
		_ = in.Close()
		return
	}
	f.mu.Lock()
	f.open[in], f.open[out] = true, true
	f.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
	f.mu.Lock()
	delete(f.open, in)
	delete(f.open, out)
	f.mu.Unlock()
}

// cut closes all connections and returns how many there were.
func (f *front) cut() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
	return len(f.open) / 2
}

const (
	rotationRate = 200 // jobs per second
	rotationTime = 16 * time.Second
	// rotationClients are so many that none has too many submits in flight (64) while acks wait for ten seconds.
	rotationClients = 32
)

// patient is for services whose broker answers late: hundreds of TLS handshakes at once take it seconds on a machine
// that has all of them and other tests to run.
var patient = []string{
	"--kafka-dial-timeout", "5s", "--kafka-request-timeout", "2.5s", "--kafka-delivery-timeout", "20s",
}

// TestSecuredKafka runs all services on a broker to which connections last at most two seconds without another
// authentication.
func TestSecuredKafka(t *testing.T) {
	kafkatest.Require(t)
	f := newFront(t)
	s := startSecured(t, kafkatest.Credentials{Reauthenticate: 2 * time.Second, Front: f.l.Addr().String()})
	f.run(s.broker.SASL)
	t.Run("a service without the password is not ready and says why", func(t *testing.T) { s.waitsForPassword(t, f) })
	t.Run("a service without a file does not start", s.needsFiles)
	t.Run("a password and a certificate are rotated under load", func(t *testing.T) { s.rotates(t, f) })
	t.Run("services change from plaintext to TLS under load", func(t *testing.T) { s.changesOver(t, f) })
}

// changesOver starts services on the broker's plaintext listener, and then, under load, each of them again on the one
// with TLS: those that have changed and those that have not work together.
func (s *secured) changesOver(t *testing.T, f *front) {
	url, all := services(t, strings.Join(s.broker.Brokers(), ","), patient...)
	load(t, url, func() {
		for _, name := range []string{"processor", "tracker", "gateway"} {
			p := all[name]
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			_ = p.cmd.Wait()
			p.args[indexOf(p.args, "--kafka")+1] = f.l.Addr().String()
			p.args = append(p.args, s.flags()...)
			p.start()
			p.waitReady()
		}
	})
}

// waitsForPassword starts each service with a wrong password, and mends the file when all have said so.
func (s *secured) waitsForPassword(t *testing.T, f *front) {
	setFile := func(password string) { certstest.Write(t, filepath.Join(s.dir, "password"), []byte(password+"\n")) }
	setFile("wr0ng")
	t.Cleanup(func() { setFile(secretOf(1)) }) // the tests that follow need it, however this one ends
	a := addrs(t, 6)
	all := map[string]*proc{}
	began := time.Now()
	for name, args := range map[string][]string{
		"gateway":   {"--listen", a[0], "--ops-listen", a[1], "--anonymous-tenant", "local"},
		"tracker":   {"--tracker-listen", a[2], "--ops-listen", a[3], "--data", t.TempDir()},
		"processor": {"--ops", a[4], "--demo"},
	} {
		ops := map[string]string{"gateway": a[1], "tracker": a[3], "processor": a[4]}[name]
		p := &proc{t: t, name: name, ready: "http://" + ops + "/readyz", log: &tail{},
			args: slices.Concat(args, []string{"--kafka", f.l.Addr().String()}, patient, s.flags())}
		p.start()
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				t.Logf("%s printed at last:\n%s", name, p.log)
			}
		})
		all[name] = p
	}
	const why = "refused user " + kafkaUser + "; check kafka-user and kafka-password-file, "
	for name, p := range all {
		within(t, startWithin, name+" says why it is not ready", func() bool {
			code, body := get(p.ready)
			return code == http.StatusServiceUnavailable && strings.Contains(body, why+filepath.Join(s.dir, "password"))
		})
		most := 1 + int(time.Since(began)/time.Minute) // it is logged again each minute
		if n := p.log.count("no connection to a broker", why); n < 1 || n > most {
			t.Errorf("%s logs the reason %d times, want at most %d", name, n, most)
		}
	}
	setFile(secretOf(1))
	for _, p := range all {
		p.waitReady()
		if strings.Contains(p.log.String(), "wr0ng") || strings.Contains(p.log.String(), secretOf("")) {
			t.Errorf("%s logs a password", p.name)
		}
	}
}

// needsFiles starts each service without one of its files: that is wrong usage, told in one line.
func (s *secured) needsFiles(t *testing.T) {
	for _, name := range []string{"gateway", "tracker", "processor"} {
		for _, setting := range []string{"kafka-password-file", "kafka-tls-ca", "kafka-tls-cert"} {
			missing := filepath.Join(s.dir, "missing")
			cmd := exec.Command(filepath.Join(binaries, name), append(s.flags(), "--"+setting, missing)...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 2 {
				t.Errorf("%s without the file of %s: exit code %d, %v", name, setting, code, err)
			}
			if !strings.Contains(string(out), setting+": stat "+missing+": no such file") {
				t.Errorf("%s without the file of %s prints:\n%s", name, setting, out)
			}
		}
	}
}

// get returns the status and the body at a URL; 0 without an answer.
func get(url string) (code int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// rotates changes the password and the certificate while jobs go through all services. Connections are cut after each
// change, and the first certificate has ended when the second one is used.
func (s *secured) rotates(t *testing.T, f *front) {
	s.ca.Files(s.dir, "client", time.Minute)
	url, all := services(t, f.l.Addr().String(), append(s.flags(), patient...)...)
	first := certificateEnd(t, all["gateway"])
	ends := time.Now().Add(8 * time.Second)
	s.ca.Files(s.dir, "client", time.Until(ends))
	var ctx context.Context
	clients := make([]*ackwire.Client, rotationClients)
	for i := range clients {
		ctx, clients[i] = dial(t, url)
	}
	began := time.Now()
	at := func(after time.Duration, do func()) {
		timer := time.AfterFunc(time.Until(began.Add(after)), do)
		t.Cleanup(func() { timer.Stop() })
	}
	cut := func() { t.Logf("%d connections are cut", f.cut()) }
	at(2*time.Second, cut)
	at(3*time.Second, func() { s.setPassword(t, secretOf(2)) })
	at(5*time.Second, cut)
	at(6*time.Second, func() { s.ca.Files(s.dir, "client", time.Hour) })
	at(9*time.Second, cut) // the certificate before has ended
	at(11*time.Second, func() { s.setPassword(t, secretOf(3)) })
	at(13*time.Second, cut)
	acked := everySubmit(ctx, t, clients)
	for _, j := range acked {
		last, err := j.Wait(ctx)
		if err != nil || last.State != job.Completed {
			t.Errorf("job %s: %s, %v", j.ID, last.State, err)
		}
	}
	t.Logf("%d jobs acked, all of them completed", len(acked))
	for name, p := range all {
		if end := certificateEnd(t, p); end <= first {
			t.Errorf("%s uses a certificate that ends at %v, as before", name, end)
		}
		if strings.Contains(p.log.String(), secretOf("")) {
			t.Errorf("%s logs a password", name)
		}
	}
}

// everySubmit submits jobs for rotationTime and returns those that were acked. Each refusal is an error.
func everySubmit(ctx context.Context, t *testing.T, clients []*ackwire.Client) (acked []*ackwire.Job) {
	t.Helper()
	var (
		mu      sync.Mutex
		slowest time.Duration
		wg      sync.WaitGroup
	)
	tick := time.NewTicker(time.Second / rotationRate)
	defer tick.Stop()
	began := time.Now()
	for n := 0; time.Since(began) < rotationTime; n++ {
		wg.Go(func() {
			asked := time.Now()
			j, err := clients[n%len(clients)].Submit(ctx, "demo.echo", json.RawMessage(`{"x":1}`))
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(asked))
			if err != nil {
				t.Errorf("submit after %s: %v", time.Since(began), err)
				return
			}
			acked = append(acked, j)
		})
		<-tick.C
	}
	wg.Wait()
	t.Logf("the slowest ack took %s", slowest.Round(time.Millisecond))
	return acked
}

// certificateEnd returns when the certificate ends that a process uses, by its metrics.
func certificateEnd(t *testing.T, p *proc) (end float64) {
	t.Helper()
	_, body := get(strings.Replace(p.ready, "/readyz", "/metrics", 1))
	const series = `ackwire_certificate_end_timestamp_seconds{setting="kafka-tls-cert"} `
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, series); ok {
			_, _ = fmt.Sscan(v, &end)
		}
	}
	if end == 0 {
		t.Fatalf("%s has no %s", p.name, series)
	}
	return end
}
