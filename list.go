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

// ListOptions filter the tenant's jobs. The zero value lists all; a job must match every field that is set.
type ListOptions struct {
	// States, Types, Lanes and Subjects each match jobs that have one of these values; empty matches all jobs.
	States   []job.State
	Types    []string
	Lanes    []string
	Subjects []string
	// Tags matches jobs that have all of these tags; at most 4.
	Tags map[string]string
	// Mine matches only jobs of the token's own subject.
	Mine bool
	// Tenant lists the jobs of another tenant than the token's. The token needs the permission operate.
	Tenant string
	// Bounds on when a job was created and when it last changed. After is inclusive, Before is exclusive; times are
	// those of the server's log, in milliseconds.
	CreatedAfter, CreatedBefore time.Time
	UpdatedAfter, UpdatedBefore time.Time
	// Limit is the most jobs of a page, 1 to 500; 0 means 50. A page may have fewer.
	Limit int
	// Cursor continues a list: the NextCursor of a page that was read with the same options. Empty starts with the
	// newest job.
	Cursor string
}

// Page is a part of a list, newest first.
type Page struct {
	// Jobs are the documents, the newest job first. Their Version is 0 if the server is too old to tell it.
	Jobs []Status
	// NextCursor asks for the next page; empty when this was the last. A page may have fewer
	// jobs than its limit, even none, and still not be the last.
	NextCursor string
	// AsOf is the time up to which every change is included in the page.
	AsOf time.Time
}

// list reads a page of jobs (GET /v1/jobs).
func (r *rest) list(ctx context.Context, o ListOptions) (Page, error) {
	path := "/v1/jobs"
	if q := o.query().Encode(); q != "" {
		path += "?" + q
	}
	_, body, err := r.read(ctx, "list", path, maxPageBytes)
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
		if i < len(list.Versions) {
			page.Jobs[i].Version = list.Versions[i]
		}
		if err := json.Unmarshal(raw, &page.Jobs[i].Document); err != nil {
			return Page{}, fmt.Errorf("ackwire: list: read document: %w", err)
		}
	}
	return page, nil
}

// all yields the jobs of page after page.
func (r *rest) all(ctx context.Context, o ListOptions) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		from := o // each range begins anew
		for {
			page, err := r.list(ctx, from)
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
			from.Cursor = page.NextCursor
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
	for key, value := range o.Tags {
		q.Add("tag", key+":"+value)
	}
	if o.Mine {
		q.Set("mine", "true")
	}
	if o.Tenant != "" {
		q.Set("tenant", o.Tenant)
	}
	for name, t := range map[string]time.Time{
		"createdAfter": o.CreatedAfter, "createdBefore": o.CreatedBefore,
		"updatedAfter": o.UpdatedAfter, "updatedBefore": o.UpdatedBefore,
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
