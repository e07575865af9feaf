package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

// bulkServer answers bulk requests: that many jobs match, and then moved many more when it is ordered.
type bulkServer struct {
	script
	matching, moved int
	refusal         string // answers a preview
	asked           []frame.BulkRequest
}

func (s *bulkServer) answer(q frame.BulkRequest) (status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	switch {
	case q.Preview && s.refusal != "":
		return http.StatusForbidden, s.refusal
	case q.Preview:
		examples := []string{"0199-a", "0199-\x1b[31mb"}[:min(2, s.matching)]
		b, _ := json.Marshal(frame.BulkAnswer{Action: q.Action, Count: int64(s.matching), Examples: examples})
		return http.StatusOK, string(b)
	case q.Expect == nil || *q.Expect != int64(s.matching+s.moved):
		return http.StatusConflict, fmt.Sprintf(`{"code":"count_differs","title":"Another number of jobs matches",`+
			`"detail":"%[1]d jobs match, not %[2]d\u001b[2J","retryable":false,"count":%[1]d}`, s.matching+s.moved, s.matching)
	}
	return http.StatusAccepted, fmt.Sprintf(`{"action":%q,"count":%d,"examples":[],"jobId":"0199-job","state":"pending",`+
		`"statusUrl":"/v1/jobs/0199-job"}`, q.Action, s.matching)
}

const (
	bulkHalf = `,"progress":{"current":256,"total":700,"stage":"work","message":"255 done,\u001b[1m 1 skipped"}`
	bulkDone = `,"finishedAt":"2026-01-02T03:04:07Z","result":{"action":"retry","matched":700,"done":700,` +
		`"skipped":{"not_found":0,"changed":0,"refused":0},"jobs":[]}`
	bulkSkipped = `,"finishedAt":"2026-01-02T03:04:07Z","result":{"action":"retry","matched":700,"done":698,` +
		`"skipped":{"not_found":1,"changed":1,"refused":0},"jobs":[{"jobId":"0199-one","reason":"changed"},` +
		`{"jobId":"0199-\u001b[31mtwo","reason":"not_found"}]}`
)

func TestBulkCommand(t *testing.T) {
	for _, tc := range []struct {
		name     string
		matching int
		moved    int
		refusal  string
		ends     string // the document that the bulk action's job ends with
		stdin    string
		args     []string
		orders   int
	}{
		{name: "preview", matching: 700, args: []string{"retry", "--state", "failed", "--preview"}},
		{name: "preview-json", matching: 700, args: []string{"cancel", "--tenant", "acme", "--preview", "--json"}},
		{name: "none", args: []string{"erase", "--yes"}},
		{
			name:    "forbidden",
			refusal: `{"code":"forbidden","title":"Forbidden","detail":"it needs \u001b[2Jread and erase","retryable":false}`,
			args:    []string{"erase", "--yes"},
		},
		{name: "wrong-action", args: []string{"run"}},
		{name: "no", matching: 700, stdin: "n\n", args: []string{"retry"}},
		{name: "no-answer", matching: 700, args: []string{"retry"}},
		{
			name: "done", matching: 700, stdin: "Yes\n", ends: status(9, "completed", bulkDone), args: []string{"retry"},
			orders: 1,
		},
		{
			name: "done-json", matching: 700, ends: status(9, "completed", bulkDone), args: []string{"retry", "-y", "--json"},
			orders: 1,
		},
		{
			name: "skipped", matching: 700, ends: status(9, "completed", bulkSkipped), args: []string{"retry", "-y"}, orders: 1,
		},
		{name: "count-differs", matching: 700, moved: 1, args: []string{"retry", "-y"}, orders: 1},
		{
			name: "stopped", matching: 700, ends: status(9, "cancelled", bulkHalf), args: []string{"retry", "-y"}, orders: 1,
		},
		{name: "no-wait", matching: 700, args: []string{"retry", "-y", "--no-wait"}, orders: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &bulkServer{matching: tc.matching, moved: tc.moved, refusal: tc.refusal}
			s.subscribe, s.bulk = []string{tc.ends}, s.answer
			env := &Env{Stdin: stdin(t, tc.stdin)}
			golden(t, "bulk-"+tc.name, run(t, env, s.serve(t), append([]string{"bulk"}, tc.args...)...))
			orders := 0
			for _, q := range s.asked {
				if !q.Preview {
					orders++
				}
				if tenant := q.Filter["tenant"]; slices.Contains(tc.args, "acme") != slices.Equal(tenant, []string{"acme"}) {
					t.Errorf("of tenant %q", tenant)
				}
				if state := q.Filter["state"]; slices.Contains(tc.args, "failed") != slices.Equal(state, []string{"failed"}) {
					t.Errorf("of state %q", state)
				}
			}
			if orders != tc.orders {
				t.Errorf("%d orders, want %d", orders, tc.orders)
			}
		})
	}
}

// stdin returns a file from which a text is read.
func stdin(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	return r
}

// TestBulkIsInterrupted: before the answer nothing is ordered. Afterwards the bulk action goes on, and the command says
// how it is followed and stopped.
func TestBulkIsInterrupted(t *testing.T) {
	t.Run("asking", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &bulkServer{matching: 700}
		s.bulk = s.answer
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close() // ends the read
		env := &Env{Context: ctx, Stdin: r, Stderr: &trigger{text: "[y/N]", f: cancel}}
		golden(t, "interrupt-bulk-asking", run(t, env, s.serve(t), "bulk", "cancel"))
		if len(s.asked) != 1 {
			t.Errorf("asked %+v", s.asked)
		}
	})
	t.Run("following", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &bulkServer{matching: 700}
		s.subscribe, s.bulk = []string{status(4, "processing", bulkHalf)}, s.answer
		env := &Env{Context: ctx, Stderr: &trigger{text: "256 of 700", f: cancel}}
		got := run(t, env, s.serve(t), "bulk", "retry", "--yes")
		golden(t, "interrupt-bulk", got)
		if !strings.HasPrefix(got, fmt.Sprintf("exit code %d\n", ExitInterrupted)) {
			t.Errorf("%s", got)
		}
	})
}
