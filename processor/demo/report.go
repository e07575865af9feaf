package demo

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
)

const (
	// maxReportDays bounds a report, so that its CSV fits into the result if there is no blob store.
	maxReportDays = 366
	// stagePause slows a report down, so that a watch shows its stages.
	stagePause = 150 * time.Millisecond
	// collectStages is the number of parts in which the rows are made.
	collectStages = 5
)

type reportPayload struct {
	ReportType string `json:"reportType"`
	From       string `json:"from"` // first day, YYYY-MM-DD
	To         string `json:"to"`   // last day, YYYY-MM-DD
}

// reportResult is the job's result. The report itself is a file at the job's resultUrl.
type reportResult struct {
	Rows int `json:"rows"`
	// CSV is the report itself if there is no blob store.
	CSV string `json:"csv,omitempty"`
}

// generate builds a report of one row per day. The figures are made up but depend only on the
// payload, so that every attempt gives the same report.
func generate(ctx context.Context, j *processor.Job, in reportPayload) (reportResult, error) {
	from, days, err := in.days()
	if err != nil {
		return reportResult{}, invalid(err)
	}
	if err := tell(j, 0, "collecting", "collect", 0); err != nil {
		return reportResult{}, err
	}
	j.Log.Info("collecting", "report", in.ReportType, "days", days)
	rows := make([][]string, 0, days)
	for stage := range collectStages {
		if !pause.For(ctx, stagePause) {
			return reportResult{}, context.Cause(ctx)
		}
		for len(rows) < days*(stage+1)/collectStages {
			rows = append(rows, in.row(from.AddDate(0, 0, len(rows))))
		}
		message := fmt.Sprintf("collected %d of %d days", len(rows), days)
		if err := tell(j, 80*float64(stage+1)/collectStages, message, "collect", len(rows)); err != nil {
			return reportResult{}, err
		}
	}
	if !pause.For(ctx, stagePause) {
		return reportResult{}, context.Cause(ctx)
	}
	if err := tell(j, 90, "rendering", "render", len(rows)); err != nil {
		return reportResult{}, err
	}
	j.Log.Info("rendering", "rows", len(rows))
	text, err := render(rows)
	if err != nil {
		return reportResult{}, fmt.Errorf("render report: %w", err)
	}
	name := fmt.Sprintf("%s-%s-%s.csv", in.ReportType, in.From, in.To)
	err = j.Attach(ctx, processor.File{
		Name: name, ContentType: "text/csv; charset=utf-8", Content: strings.NewReader(text),
	})
	if err != nil && !errors.Is(err, processor.ErrNoBlobStore) {
		return reportResult{}, err
	}
	if err := tell(j, 100, "done", "done", len(rows)); err != nil {
		return reportResult{}, err
	}
	if err != nil {
		return reportResult{Rows: len(rows), CSV: text}, nil
	}
	return reportResult{Rows: len(rows)}, nil
}

// reportData is what a report's progress has for programs, beside its stage.
type reportData struct {
	Rows int `json:"rows"` // so far
}

// tell reports how far a report has come.
func tell(j *processor.Job, percent float64, message, stage string, rows int) error {
	return j.Advance(processor.Progress{
		Percent: percent, Message: message, Stage: stage, Data: reportData{Rows: rows},
	})
}

func (in reportPayload) days() (from time.Time, days int, err error) {
	if in.ReportType == "" {
		return from, 0, errors.New("reportType is missing")
	}
	from, err = time.Parse(time.DateOnly, in.From)
	if err != nil {
		return from, 0, errors.New("from is not a date (YYYY-MM-DD)")
	}
	to, err := time.Parse(time.DateOnly, in.To)
	if err != nil {
		return from, 0, errors.New("to is not a date (YYYY-MM-DD)")
	}
	days = int(to.Sub(from)/(24*time.Hour)) + 1
	switch {
	case to.Before(from):
		return from, 0, errors.New("to is before from")
	case days > maxReportDays:
		return from, 0, fmt.Errorf("the period has %d days, at most %d are possible", days, maxReportDays)
	}
	return from, days, nil
}

var reportHeader = []string{"date", "orders", "revenue", "refunds"}

// row makes up one day: more orders at weekends, and noise that is a hash of type and date.
func (in reportPayload) row(day time.Time) []string {
	date := day.Format(time.DateOnly)
	h := fnv.New64a()
	h.Write([]byte(in.ReportType + "/" + date))
	noise := h.Sum64()
	orders := 40 + noise%25
	if weekday := day.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		orders += 30
	}
	cents := orders * (2_500 + noise>>8%1_500)
	refunds := noise >> 16 % (orders/10 + 1)
	return []string{
		date,
		strconv.FormatUint(orders, 10),
		fmt.Sprintf("%d.%02d", cents/100, cents%100),
		strconv.FormatUint(refunds, 10),
	}
}

func render(rows [][]string) (string, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	if err := w.Write(reportHeader); err != nil {
		return "", err
	}
	if err := w.WriteAll(rows); err != nil { // it flushes
		return "", err
	}
	return out.String(), nil
}
