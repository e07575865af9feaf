package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ackwire/ackwire/schemas/job"
)

// confWith has the arguments of a call that a script makes by its name.
type confWith struct {
	Job    string          `json:"job"`
	ID     string          `json:"id"`
	Limit  int             `json:"limit"`
	Cursor string          `json:"cursor"`
	Action BulkAction      `json:"action"`
	Filter confFilter      `json:"filter"`
	Expect int64           `json:"expect"`
	Items  []confBatchItem `json:"items"`
}

type confFilter struct {
	State []job.State `json:"state"`
	Type  []string    `json:"type"`
}

type confBatchItem struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
	Key     string          `json:"key"`
}

// confCalls are the calls that scripts make by their names. What they return is compared as JSON.
var confCalls = map[string]func(context.Context, *Client, confWith) (any, error){
	"history": func(ctx context.Context, c *Client, w confWith) (any, error) {
		return c.Job(w.Job).History(ctx, HistoryOptions{Limit: w.Limit, Cursor: w.Cursor})
	},
	"payload": func(ctx context.Context, c *Client, w confWith) (any, error) {
		content, err := c.Job(w.Job).Payload(ctx)
		if err != nil {
			return nil, err
		}
		defer content.Close()
		b, err := io.ReadAll(content)
		return json.RawMessage(b), err
	},
	"workers": func(ctx context.Context, c *Client, _ confWith) (any, error) {
		return httpOf(c).Workers(ctx)
	},
	"deadLetters": func(ctx context.Context, c *Client, w confWith) (any, error) {
		return httpOf(c).DeadLetters(ctx, w.Limit, w.Cursor)
	},
	"deadLetter": func(ctx context.Context, c *Client, w confWith) (any, error) {
		return httpOf(c).DeadLetter(ctx, w.ID)
	},
	"requeue": func(ctx context.Context, c *Client, w confWith) (any, error) {
		return httpOf(c).RequeueDead(ctx, w.ID)
	},
	"previewBulk": func(ctx context.Context, c *Client, w confWith) (any, error) {
		p, err := c.PreviewBulk(ctx, w.bulk())
		return map[string]any{"count": p.Count, "examples": p.Examples}, err
	},
	"bulk": func(ctx context.Context, c *Client, w confWith) (any, error) {
		j, err := c.Bulk(ctx, w.bulk(), w.Expect)
		if err != nil {
			return nil, err
		}
		return map[string]any{"jobId": j.ID, "state": j.Ack.State}, nil
	},
	"submitBatch": func(ctx context.Context, c *Client, w confWith) (any, error) {
		var items []BatchItem
		for _, it := range w.Items {
			items = append(items, BatchItem{Type: it.Type, Payload: it.Payload, Options: []SubmitOption{Key(it.Key), NoWatch()}})
		}
		results, err := c.SubmitBatch(ctx, items)
		told := []any{}
		for _, result := range results {
			one := map[string]any{"outcome": result.Outcome()}
			if result.Job != nil {
				one["job"], one["duplicate"] = result.Job.ID, result.Job.Ack.Duplicate
			} else {
				one["code"] = CodeOf(result.Err)
			}
			told = append(told, one)
		}
		return told, err
	},
}

func (w confWith) bulk() BulkOrder {
	return BulkOrder{Action: w.Action, Filter: ListOptions{States: w.Filter.State, Types: w.Filter.Type}}
}

// httpOf returns a client that asks as c does, for the calls that only it has.
func httpOf(c *Client) *HTTPClient { return &HTTPClient{c.api} }

// byName does the steps of calls that scripts make by their names.
func (r *confRun) byName(s confStep) {
	if s.Gave != nil {
		got, err := r.calls[*s.Gave].end()
		if err != nil {
			r.fatalf("%s failed: %v", *s.Gave, err)
		}
		if !r.matches(got.value, s.Value) {
			r.fatalf("%s gave %v, want %v", *s.Gave, got.value, s.Value)
		}
		return
	}
	call := confCalls[*s.Call]
	if call == nil {
		r.fatalf("no call %s", *s.Call)
	}
	r.begin(s.As, func(c *Client) (confResult, error) {
		given, err := call(context.Background(), c, s.With)
		if err != nil {
			return confResult{}, err
		}
		b, err := json.Marshal(given)
		if err != nil {
			return confResult{}, fmt.Errorf("%T: %w", given, err)
		}
		var told confResult
		err = json.Unmarshal(b, &told.value)
		return told, err
	})
}
