package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// How much is read of a body that is too large: many clients read the answer only after they have sent the body.
const (
	DiscardBytes   = 16 << 20
	discardTimeout = 5 * time.Second
)

// readJSON reads a body of JSON, up to a limit in bytes.
func (a *answers) readJSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, frame.NewProblem(code.UnsupportedMediaType, "the body must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		a.cfg.Metrics.TooSlowToSend()
		return nil, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("the body did not come within %s", conns.BodyTimeout))
	case err != nil:
		return nil, frame.NewProblem(code.InvalidFrame, "the body could not be read")
	case int64(len(body)) > limit:
		return nil, tooLarge(w, r, limit)
	}
	return body, nil
}

// tooLarge returns the error for a body that is too large, after it has read a part of the rest: many clients read the
// answer only after they have sent the body.
func tooLarge(w http.ResponseWriter, r *http.Request, limit int64) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(discardTimeout))
	_, _ = io.CopyN(io.Discard, r.Body, DiscardBytes)
	w.Header().Set("Connection", "close")
	return frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
}
