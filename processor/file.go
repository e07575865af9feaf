package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// File is a result that is stored in the blob store and served at the job's resultUrl.
type File struct {
	// Name is the file name that a download is given, such as "sales.csv". It may be empty.
	Name string
	// ContentType is a media type; "application/octet-stream" when empty.
	ContentType string
	Content     io.Reader
}

const defaultContentType = "application/octet-stream"

// ErrNoBlobStore is returned by Job.Attach if no store is configured. As a handler's error it
// is retryable: another worker may have a store. It costs an attempt, since the handler has run.
var ErrNoBlobStore = WithCode(job.CodeResultNotStored, errors.New("this worker has no blob store"))

// Attach makes f the job's file and replaces one that was attached before. The file is stored when Attach returns;
// clients see it once the handler has returned without an error, along with the result that it returned. An error is
// retryable, unless f is above Config.FileLimit or its name or type is too long.
func (j *Job) Attach(ctx context.Context, f File) error {
	if f.ContentType == "" {
		f.ContentType = defaultContentType
	}
	if !job.Bounded(f.Name, event.MaxBlobChars) || !job.Bounded(f.ContentType, job.MaxNameChars) {
		return Permanent(fmt.Errorf("a file's name has at most %d characters, and its type %d", event.MaxBlobChars,
			job.MaxNameChars))
	}
	b, err := j.store(ctx, f)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file = b
	return nil
}

// attached returns the job's file; nil when there is none.
func (j *Job) attached() *event.Blob {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file
}

// spill attaches a result that is too large for the log as a file. If the handler has attached a file, or there is no
// blob store, it returns the result as it is, and the job fails because of its size.
func (j *Job) spill(ctx context.Context, result json.RawMessage, limit int) (json.RawMessage, error) {
	if len(result) <= limit || j.attached() != nil {
		return result, nil
	}
	if err := checkResult(result); err != nil {
		return nil, invalidResult(err)
	}
	err := j.Attach(ctx, File{Name: "result.json", ContentType: "application/json", Content: bytes.NewReader(result)})
	if errors.Is(err, ErrNoBlobStore) {
		return result, nil
	}
	return nil, err
}

// storeFile returns the function Job.store of a run. Every run has a key of its own, so that a worker that was cut off
// cannot overwrite the file of another run.
func (p *Processor) storeFile(key string) func(context.Context, File) (*event.Blob, error) {
	return func(ctx context.Context, f File) (*event.Blob, error) {
		if p.blobs == nil {
			return nil, ErrNoBlobStore
		}
		content := &limited{content: f.Content, limit: p.cfg.FileLimit}
		err := p.blobs.Put(ctx, key, f.ContentType, f.Name, content)
		switch {
		case content.exceeded():
			return nil, WithCode(job.CodeResultTooLarge, Permanent(fmt.Errorf("the result is above the limit of %d bytes",
				p.cfg.FileLimit)))
		case err != nil:
			return nil, WithCode(job.CodeResultNotStored, fmt.Errorf("store result: %w", err))
		}
		return &event.Blob{Key: key, Size: content.size, ContentType: f.ContentType, Name: f.Name}, nil
	}
}

// limited reads a file's content and counts its bytes. Above the limit it returns an error, so that the store does not
// keep the file.
type limited struct {
	content     io.Reader
	limit, size int64
}

var errAboveLimit = errors.New("the content is above the limit")

// Read implements io.Reader.
func (l *limited) Read(b []byte) (int, error) {
	n, err := l.content.Read(b)
	l.size += int64(n)
	if l.exceeded() {
		return 0, errAboveLimit
	}
	return n, err
}

func (l *limited) exceeded() bool { return l.size > l.limit }

// fetchPayload reads a payload from the blob store. Processor.lacks has checked that there is one.
func (p *Processor) fetchPayload(ctx context.Context, key string) ([]byte, error) {
	payload, err := p.blobs.Get(ctx, key, maxPayload)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, WithCode(job.CodePayloadMissing, Permanent(errors.New("the payload is not in the blob store any more")))
	case err != nil:
		return nil, Unable(WithCode(CodeBlobStoreUnavailable, fmt.Errorf("fetch payload: %w", err)))
	}
	return payload, nil
}
