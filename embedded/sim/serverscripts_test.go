package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TestServersAnswerAlike runs the scripts for servers with the services and with ackwiretest;
// clients/testdata/servers/README.md says how they are written. The JavaScript server of tests runs them, too.
func TestServersAnswerAlike(t *testing.T) {
	scripts := serverScripts(t)
	file := filepath.Join(t.TempDir(), "grant.key")
	if err := os.WriteFile(file, []byte(strings.Repeat("g", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, func(w *World) {
		w.ConfigureGateway = func(c *gateway.Config) {
			c.Auth.AnonymousTenant, c.Auth.Key, c.Auth.GrantKeyFile = "", stormKey, file
			c.Limits.OrderRate, c.Limits.ListRate, c.Limits.AskRate = 0, 0, 0
		}
		w.Stop(w.gateway) // it was started without that
		w.StartGateway()
		for i, s := range scripts {
			alice, err := gateway.SignToken(stormKey, Tenant, fmt.Sprintf("alice-%d", i), 24*time.Hour,
				"submit", "read", "cancel", "payloads", "erase")
			if err != nil {
				t.Fatal(err)
			}
			s.run(t, "the services", GatewayURL(0), alice, w.Net.Host("client").Dial)
		}
	})
	for _, s := range scripts {
		t.Run(s.Name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				srv := ackwiretest.New(t)
				srv.JobTypes(jobtypes.Default())
				srv.RequireToken("alice")
				s.run(t, "ackwiretest", srv.URL(), "alice", srv.DialContext)
			})
		})
	}
}

// serverScript is a conversation with a server.
type serverScript struct {
	Name  string       `json:"name"`
	Steps []serverStep `json:"steps"`
}

// serverStep is any step; the first field that is set says which.
type serverStep struct {
	Ask    string         `json:"ask,omitempty"`
	Open   string         `json:"open,omitempty"`
	Say    map[string]any `json:"say,omitempty"`
	Hear   map[string]any `json:"hear,omitempty"`
	Silent float64        `json:"silent,omitempty"`
	Ends   int            `json:"ends,omitempty"`
	Leave  string         `json:"leave,omitempty"`
	Pass   float64        `json:"pass,omitempty"`

	As      string         `json:"as,omitempty"`
	On      string         `json:"on,omitempty"`
	Ticket  string         `json:"ticket,omitempty"`
	Refused bool           `json:"refused,omitempty"`
	Body    map[string]any `json:"body,omitempty"`
	Status  int            `json:"status,omitempty"`
	Answer  map[string]any `json:"answer,omitempty"`
}

func serverScripts(t *testing.T) (all []serverScript) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "clients", "testdata", "servers", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of scripts, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var of struct {
			Scripts []serverScript `json:"scripts"`
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&of); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, of.Scripts...)
	}
	return all
}

// scriptRun is one script at work.
type scriptRun struct {
	base    string
	client  *http.Client
	sockets map[string]*scriptSocket
	bound   map[string]any // what "$x" stands for
}

// scriptSocket is a client's end of a socket.
type scriptSocket struct {
	ws     *websocket.Conn
	frames chan []byte // closed at the socket's end
	end    error       // set then
}

// run runs a script with a server. A step that fails ends it.
func (s serverScript) run(
	t *testing.T, server, base, alice string, dial func(context.Context, string, string) (net.Conn, error),
) {
	t.Helper()
	r := &scriptRun{
		base: base, client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
		sockets: map[string]*scriptSocket{},
		bound: map[string]any{
			"alice": alice, "never": "01a208fd-2dc6-7467-acd5-bb987da2c71e",
			"inAnHour": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	}
	defer func() {
		for _, k := range r.sockets {
			_ = k.ws.CloseNow()
		}
		synctest.Wait()
	}()
	for i, step := range s.Steps {
		if err := r.do(step); err != nil {
			b, _ := json.Marshal(step) // it was JSON
			t.Errorf("%s: %s: step %d, %s: %v", server, s.Name, i+1, b, err)
			return
		}
		synctest.Wait()
	}
}

func (r *scriptRun) do(s serverStep) error {
	k := r.sockets[s.On]
	switch {
	case s.Ask != "":
		return r.ask(s)
	case s.Open != "":
		return r.open(s)
	case s.Say != nil:
		b, err := json.Marshal(r.filled(s.Say))
		if err != nil {
			return err
		}
		return k.ws.Write(context.Background(), websocket.MessageText, b)
	case s.Hear != nil:
		return r.hear(k, s.Hear)
	case s.Silent > 0:
		select {
		case b := <-k.frames:
			return fmt.Errorf("it says %q", b)
		case <-time.After(scriptSeconds(s.Silent)):
		}
	case s.Ends > 0:
		select {
		case b, ok := <-k.frames:
			if ok {
				return fmt.Errorf("it says %s", b)
			}
			if websocket.CloseStatus(k.end) != websocket.StatusCode(s.Ends) {
				return k.end
			}
		case <-time.After(2 * time.Minute):
			return errors.New("it is open after two minutes")
		}
	case s.Leave != "":
		return r.sockets[s.Leave].ws.CloseNow()
	default:
		time.Sleep(scriptSeconds(s.Pass))
	}
	return nil
}

func scriptSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (r *scriptRun) ask(s serverStep) error {
	method, path, _ := strings.Cut(s.Ask, " ")
	var body io.Reader
	if s.Body != nil {
		b, err := json.Marshal(r.filled(s.Body))
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequest(method, r.base+r.text(path), body)
	if err != nil {
		return err
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if s.As != "" {
		q.Header.Set("Authorization", "Bearer "+r.text(s.As))
	}
	resp, err := r.client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != s.Status {
		return fmt.Errorf("it answers %d %s", resp.StatusCode, text)
	}
	return r.compare(text, s.Answer)
}

func (r *scriptRun) open(s serverStep) error {
	path := "/v1/ws"
	header := http.Header{}
	if s.Ticket != "" {
		path += "?ticket=" + r.text(s.Ticket)
	} else {
		header.Set("Authorization", "Bearer "+r.text(s.As))
	}
	ws, resp, err := websocket.Dial(context.Background(), r.base+path, &websocket.DialOptions{
		HTTPClient: r.client, HTTPHeader: header, Subprotocols: []string{"ackwire.v1"},
	})
	switch {
	case s.Refused && (resp == nil || resp.StatusCode != http.StatusUnauthorized):
		return fmt.Errorf("it is not refused: %v", err)
	case s.Refused:
		return nil
	case err != nil:
		return err
	}
	k := &scriptSocket{ws: ws, frames: make(chan []byte, 100)}
	r.sockets[s.Open] = k
	go func() {
		defer close(k.frames)
		for {
			_, b, err := ws.Read(context.Background())
			if err != nil {
				k.end = err
				return
			}
			k.frames <- b
		}
	}()
	return r.hear(k, map[string]any{"type": "welcome"})
}

func (r *scriptRun) hear(k *scriptSocket, want map[string]any) error {
	select {
	case b, ok := <-k.frames:
		if !ok {
			return fmt.Errorf("it has ended: %w", k.end)
		}
		return r.compare(b, want)
	case <-time.After(2 * time.Minute):
		return errors.New("it says nothing for two minutes")
	}
}

func (r *scriptRun) compare(text []byte, want map[string]any) error {
	if want == nil {
		return nil
	}
	var got any
	if err := json.Unmarshal(text, &got); err != nil || !r.matches(got, want) {
		return fmt.Errorf("it says %s", text)
	}
	return nil
}

var (
	scriptVariable  = regexp.MustCompile(`^\$\w*$`)
	scriptVariables = regexp.MustCompile(`\$\w+`)
)

// matches compares a value with an expected one.
func (r *scriptRun) matches(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		for name, value := range want {
			member, has := members[name]
			ok = ok && has == (value != nil) && (!has || r.matches(member, value))
		}
		return ok
	case []any:
		elements, ok := got.([]any)
		ok = ok && len(elements) == len(want)
		for i := range want {
			ok = ok && r.matches(elements[i], want[i])
		}
		return ok
	case string:
		if !scriptVariable.MatchString(want) {
			return got == r.text(want)
		}
		bound, known := r.bound[want[1:]]
		if !known && want != "$" {
			r.bound[want[1:]] = got
		}
		return !known || reflect.DeepEqual(bound, got)
	}
	return reflect.DeepEqual(got, want)
}

// text is a text with what its variables stand for.
func (r *scriptRun) text(s string) string {
	return scriptVariables.ReplaceAllStringFunc(s, func(name string) string { return fmt.Sprint(r.bound[name[1:]]) })
}

// filled is a value with what its variables stand for.
func (r *scriptRun) filled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = r.filled(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.filled(v[i])
		}
		return out
	case string:
		if scriptVariable.MatchString(v) && v != "$" {
			return r.bound[v[1:]]
		}
		return r.text(v)
	}
	return v
}
