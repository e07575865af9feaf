// Package codectest compares what a codec does with what encoding/json does.
package codectest
