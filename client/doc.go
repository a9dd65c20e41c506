// Package client is ThunderDB's Go client, and the definition in Go of its
// HTTP documents and error codes: the server encodes what this package
// decodes.
//
// A [Client] tries a request that is safe to repeat on another node when one
// does not answer, and turns every error code back into the error that caused
// it, so that errors.Is(err, client.ErrNotFound) holds across machines.
package client
