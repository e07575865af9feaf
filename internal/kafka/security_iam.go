package kafka

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/sasl/aws"
)

// IAMCredentials finds credentials of AWS each time that they are needed.
type IAMCredentials = func(context.Context) (aws.Auth, error)

// iamSource is the function given to RegisterIAM.
var iamSource atomic.Pointer[func(role string) IAMCredentials]

// RegisterIAM sets the function that finds credentials of AWS, for a role if role is not empty. Only programs that
// import package mskiam have one, so that others do not contain AWS's SDK.
func RegisterIAM(source func(role string) IAMCredentials) { iamSource.Store(&source) }

// checkIAM is the part of check about aws-msk-iam.
func (s Security) checkIAM() error {
	if !s.TLS {
		return errors.New("kafka-sasl: aws-msk-iam needs kafka-tls")
	}
	if iamSource.Load() == nil {
		return errors.New("kafka-sasl: this program has no AWS SDK for aws-msk-iam; gateway, tracker and processor have " +
			"it, and a program of your own if it imports github.com/ackwire/ackwire/mskiam")
	}
	return nil
}

// iamCredentials returns the function that finds the credentials of this process.
func (s Security) iamCredentials() (IAMCredentials, error) {
	if err := s.checkIAM(); err != nil {
		return nil, err
	}
	return (*iamSource.Load())(s.IAMRole), nil
}
