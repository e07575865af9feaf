package house_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/ackwire/ackwire/internal/tools/golangci/house"
)

func TestRules(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), house.Analyzer, "a")
}
