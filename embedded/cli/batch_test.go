package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// batchServer takes batches: it acks jobs of the type ok, and refuses all others. It returns how many jobs each batch
// had.
func batchServer(t *testing.T) (url string, sizes *[]int, bodies *[]string) {
	t.Helper()
	sizes, bodies = new([]int), new([]string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch frame.BatchRequest
		if err := json.Unmarshal(body, &batch); err != nil || r.URL.Path != "/v1/jobs:batch" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		*sizes, *bodies = append(*sizes, len(batch.Jobs)), append(*bodies, string(body))
		var answer frame.AcksFrame
		for i, q := range batch.Jobs {
			refusal := frame.NewProblem(code.UnknownJobType, "no \x1b[31msuch type")
			result := frame.BatchResult{Outcome: frame.Refused, Error: &refusal}
			if q.Job == "ok" {
				id := fmt.Sprintf("j%d", i)
				result = frame.BatchResult{Outcome: frame.Acked, Ack: &frame.AckFrame{
					JobID: id, State: "pending", StatusURL: "/v1/jobs/" + id, Duplicate: q.Key == "again",
				}}
			}
			answer.Results = append(answer.Results, result)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, sizes, bodies
}

func TestBatchCommand(t *testing.T) {
	const good = `{"job":"ok","payload":1}`
	file := filepath.Join(t.TempDir(), "jobs")
	if err := os.WriteFile(file, []byte(good+"\n\n"+`{"job":"ok","payload":{"a":1},"key":"again","timeout":1.5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, stdin string
		args        []string
		want        string
	}{
		{
			"a file", "", []string{file},
			"exit code 0\n--- stdout\nacked j0\nacked j1 duplicate\n--- stderr\n",
		},
		{
			"one is refused", good + "\n" + `{"job":"x","payload":1}` + "\n" + good, []string{"-"},
			"exit code 2\n--- stdout\nacked j0\nrefused unknown_job_type: no such type\nacked j2\n--- stderr\n" +
				"ackwire: of 3 jobs 1 were refused, and of 0 the outcome is not known\n",
		},
		{
			"as JSON", good, []string{"-", "--json"},
			"exit code 0\n--- stdout\n" +
				`{"outcome":"acked","ack":{"jobId":"j0","state":"pending","statusUrl":"/v1/jobs/j0"}}` + "\n--- stderr\n",
		},
		{
			"a line that is no job", good + "\n{}", []string{"-"}, "exit code 2\n--- stdout\nacked j0\n--- stderr\n" +
				"ackwire: line 2: a job has the fields job and payload: nothing from there on was submitted\n",
		},
		{
			"a typo", `{"job":"ok","payload":1,"run_at":1}`, []string{"-"}, "exit code 2\n--- stdout\n--- stderr\n" +
				"ackwire: line 1: json: unknown field \"run_at\": nothing from there on was submitted\n",
		},
		{"two on a line", good + good, []string{"-"}, "exit code 2\n--- stdout\n--- stderr\n" +
			"ackwire: line 1: a line holds one job: nothing from there on was submitted\n"},
		{"nothing", "\n", []string{"-"}, "exit code 2\n--- stdout\n--- stderr\nackwire: the batch has no jobs\n"},
		{
			"with a type", "", []string{"-", "demo.echo"},
			"exit code 2\n--- stdout\n--- stderr\nackwire: --batch takes jobs and their settings from its lines alone\n",
		},
		{
			"with a key", "", []string{"-", "--key", "k"},
			"exit code 2\n--- stdout\n--- stderr\nackwire: --batch takes jobs and their settings from its lines alone\n",
		},
	} {
		url, _, _ := batchServer(t)
		got := run(t, &Env{Stdin: strings.NewReader(c.stdin)}, url, append([]string{"submit", "--batch"}, c.args...)...)
		if !strings.HasSuffix(got, strings.TrimPrefix(c.want, "exit code 2\n--- stdout\n--- stderr\nackwire: ")) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.what, got, c.want)
		}
	}
}

// TestBatchCommandSplits: a long file is sent as several batches, and what its lines say is what is sent.
func TestBatchCommandSplits(t *testing.T) {
	url, sizes, bodies := batchServer(t)
	line := `{"job":"ok","payload":1,"key":"k","runAt":"2030-01-01T00:00:00Z","deadline":9,"callbackUrl":"http://a.example/"}` + "\n"
	got := run(t, &Env{Stdin: strings.NewReader(strings.Repeat(line, 2500))}, url, "submit", "--batch", "-",
		"--traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if !strings.HasPrefix(got, "exit code 0") || strings.Count(got, "acked ") != 2500 {
		t.Fatalf("%.300s", got)
	}
	if fmt.Sprint(*sizes) != "[1000 1000 500]" {
		t.Errorf("batches of %v", *sizes)
	}
	const want = `{"jobs":[{"job":"ok","payload":1,"key":"k","runAt":"2030-01-01T00:00:00Z","deadline":9,` +
		`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","callbackUrl":"http://a.example/"},`
	if !strings.HasPrefix((*bodies)[0], want) {
		t.Errorf("sent %.300s\nwant %s", (*bodies)[0], want)
	}
}
