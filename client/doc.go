// Package client is ThunderDB's Go client, and the definition in Go of its
// HTTP documents and error codes: the server encodes what this package
// decodes.
//
//	db, err := client.New("10.0.0.7:8080", "10.0.0.8:8080")
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	if _, err := db.Put(ctx, "greeting", []byte("good morning")); err != nil {
//		return err
//	}
//	item, err := db.Get(ctx, "greeting")
//	if errors.Is(err, client.ErrNotFound) {
//		// somebody has deleted it meanwhile
//	}
//
// A [Client] tries a request that is safe to repeat on another node when one
// does not answer, and turns every error code back into the error that caused
// it, so that errors.Is(err, client.ErrNotFound) holds across machines.
package client
