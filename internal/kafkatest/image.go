package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/testcontainers/testcontainers-go"
)

// Version is the Apache Kafka that the tests run against.
const Version = "4.3.1"

const (
	publicImage  = "apache/kafka:" + Version
	ownImage     = "ackwire/kafka:" + Version
	dockerWait   = 10 * time.Second
	pullTimeout  = 3 * time.Minute
	buildTimeout = 5 * time.Minute
)

// image returns the name of the Kafka image, and is computed once per process: KAFKA_IMAGE (by default the
// public one) if it is there locally; else the image that deploy/kafka builds, if it is there; else
// KAFKA_IMAGE pulled; else the own image built.
var image = sync.OnceValues(func() (string, error) {
	wanted := os.Getenv("KAFKA_IMAGE")
	if wanted == "" {
		wanted = publicImage
	}
	ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
	defer cancel()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return "", fmt.Errorf("docker: %w", err)
	}
	defer docker.Close()
	for _, name := range []string{wanted, ownImage} {
		if _, err := docker.ImageInspect(ctx, name); err == nil {
			return name, nil
		}
	}
	if out, err := exec.CommandContext(ctx, "docker", "pull", "-q", wanted).CombinedOutput(); err == nil {
		return wanted, nil
	} else if os.Getenv("KAFKA_IMAGE") != "" {
		return "", fmt.Errorf("pull %s: %w: %s", wanted, err, bytes.TrimSpace(out))
	}
	_, file, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(file), "..", "..", "deploy", "kafka", "build-image.sh")
	build, cancelBuild := context.WithTimeout(context.Background(), buildTimeout)
	defer cancelBuild()
	if out, err := exec.CommandContext(build, script, ownImage).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s can neither be pulled nor built: %w: %s", wanted, err, bytes.TrimSpace(out))
	}
	return ownImage, nil
})

// available reports why no container can be started; nil when one can.
var available = sync.OnceValue(func() error {
	// testcontainers' reaper needs an image that may not be pullable; every cluster terminates itself.
	for key, value := range map[string]string{"TESTCONTAINERS_RYUK_DISABLED": "true"} {
		if os.Getenv(key) == "" {
			_ = os.Setenv(key, value)
		}
	}
	if _, err := os.Stat("/.dockerenv"); err == nil && os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" {
		_ = os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), dockerWait)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "info").CombinedOutput(); err != nil {
		return fmt.Errorf("no Docker answers: %w: %s", err, lastLine(out))
	}
	return nil
})

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
