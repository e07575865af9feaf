package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// maxPageBytes bounds a page that is read. A server ends one at 1 MiB of documents.
const maxPageBytes = 16 << 20

// ListOptions choose jobs of the token's tenant. Zero fields take every job; several values of
// one field are alternatives.
type ListOptions struct {
	States   []job.State
	Types    []string
	Lanes    []string
	Subjects []string
	// Mine takes the jobs of the token's own subject.
	Mine bool
	// After is inclusive, Before is not.
	CreatedAfter, CreatedBefore time.Time
	UpdatedAfter, UpdatedBefore time.Time
	// Limit is the most jobs of a page, 1 to 500; 0 is the server's default.
	Limit int
	// Cursor is the NextCursor of a page of the same options.
	Cursor string
}

// Page is a part of a list, newest first.
type Page struct {
	// Jobs are without their Version.
	Jobs []Status
	// NextCursor asks for the next page; empty when this was the last. A page may have fewer
	// jobs than its limit, even none, and still not be the last.
	NextCursor string
	// AsOf: all that was written up to then is in the page.
	AsOf time.Time
}

// List reads a page without opening a socket; see Client.List.
func List(ctx context.Context, url string, o ListOptions, opts ...Option) (Page, error) {
	return withoutSocket(ctx, url, opts, func(c *Client) (Page, error) { return c.List(ctx, o) })
}

// List reads a page of jobs (GET /v1/jobs). A job that was acked by the same gateway is in it.
// Errors are those of Get; the code invalid_frame names the option that the server refused.
func (c *Client) List(ctx context.Context, o ListOptions) (Page, error) {
	path := "/v1/jobs"
	if q := o.query().Encode(); q != "" {
		path += "?" + q
	}
	_, body, err := c.read(ctx, "list", path, maxPageBytes)
	if err != nil {
		return Page{}, err
	}
	var list frame.JobList
	if err := json.Unmarshal(body, &list); err != nil {
		return Page{}, fmt.Errorf("ackwire: list: read page: %w", err)
	}
	page := Page{Jobs: make([]Status, len(list.Jobs)), NextCursor: list.NextCursor, AsOf: list.AsOf}
	for i, raw := range list.Jobs {
		page.Jobs[i].Raw = raw
		if err := json.Unmarshal(raw, &page.Jobs[i].Document); err != nil {
			return Page{}, fmt.Errorf("ackwire: list: read document: %w", err)
		}
	}
	return page, nil
}

// All reads page after page, from o.Cursor on; o.Limit is the size of a page. It ends after
// the last job, or with an error.
func (c *Client) All(ctx context.Context, o ListOptions) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for {
			page, err := c.List(ctx, o)
			if err != nil {
				yield(Status{}, err)
				return
			}
			for _, st := range page.Jobs {
				if !yield(st, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			o.Cursor = page.NextCursor
		}
	}
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	for _, s := range o.States {
		q.Add("state", string(s))
	}
	for name, values := range map[string][]string{"type": o.Types, "lane": o.Lanes, "subject": o.Subjects} {
		for _, v := range values {
			q.Add(name, v)
		}
	}
	if o.Mine {
		q.Set("mine", "true")
	}
	for name, t := range map[string]time.Time{
		"createdAfter": o.CreatedAfter, "createdBefore": o.CreatedBefore, "updatedAfter": o.UpdatedAfter, "updatedBefore": o.UpdatedBefore,
	} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return q
}

// JobStats counts jobs without opening a socket; see Client.JobStats.
func JobStats(ctx context.Context, url string, opts ...Option) (frame.Stats, error) {
	return withoutSocket(ctx, url, opts, func(c *Client) (frame.Stats, error) { return c.JobStats(ctx) })
}

// JobStats counts the tenant's jobs and tells what each lane has to do (GET /v1/stats). Stats
// are the client's own counters. Errors are those of Get.
func (c *Client) JobStats(ctx context.Context) (frame.Stats, error) {
	var stats frame.Stats
	err := c.readInto(ctx, "stats", "/v1/stats", &stats)
	return stats, err
}

// Why tells what a job waits for without opening a socket; see Client.Why.
func Why(ctx context.Context, url, jobID string, opts ...Option) (frame.Why, error) {
	return withoutSocket(ctx, url, opts, func(c *Client) (frame.Why, error) { return c.Why(ctx, jobID) })
}

// Why tells why a job stands where it does (GET /v1/jobs/{id}/why). Errors are those of Get.
func (c *Client) Why(ctx context.Context, jobID string) (frame.Why, error) {
	if err := checkJobID(jobID); err != nil {
		return frame.Why{}, err
	}
	var why frame.Why
	err := c.readInto(ctx, "why "+jobID, "/v1/jobs/"+url.PathEscape(jobID)+"/why", &why)
	return why, err
}

// Deliveries reads a job's webhooks without opening a socket; see Client.Deliveries.
func Deliveries(ctx context.Context, url, jobID string, opts ...Option) (frame.Deliveries, error) {
	return withoutSocket(ctx, url, opts, func(c *Client) (frame.Deliveries, error) { return c.Deliveries(ctx, jobID) })
}

// Deliveries tells how a job's webhooks fare (GET /v1/jobs/{id}/deliveries). Errors are those
// of Get.
func (c *Client) Deliveries(ctx context.Context, jobID string) (frame.Deliveries, error) {
	if err := checkJobID(jobID); err != nil {
		return frame.Deliveries{}, err
	}
	var d frame.Deliveries
	err := c.readInto(ctx, "deliveries of "+jobID, "/v1/jobs/"+url.PathEscape(jobID)+"/deliveries", &d)
	return d, err
}

func (c *Client) readInto(ctx context.Context, what, path string, v any) error {
	_, body, err := c.read(ctx, what, path, c.cfg.readLimit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("ackwire: %s: read answer: %w", what, err)
	}
	return nil
}
