// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// A registry of images and OCI charts (distribution's own code) and an HTTP repository of charts, for who has the
// password, over TLS with a CA of its own and, on a second port, without.
//
//	registry DIRECTORY ADDRESS PLAIN_ADDRESS
//
// DIRECTORY holds `login` (USER:PASSWORD) and `charts`, which is served as /charts/. What it needs besides is written
// there when it first starts: ca.crt, the server's certificate and key, and what is pushed.
//
// The stock main package drags in the SDKs of three clouds, has no way to make a certificate, and serves no files.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

const realm = "test bed"

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: registry DIRECTORY ADDRESS PLAIN_ADDRESS")
	}
	directory, address, plain := os.Args[1], os.Args[2], os.Args[3]
	login, err := os.ReadFile(filepath.Join(directory, "login"))
	check(err)
	user, password, found := strings.Cut(strings.TrimSpace(string(login)), ":")
	if !found {
		log.Fatal("login is not USER:PASSWORD")
	}
	certificate, key := filepath.Join(directory, "server.crt"), filepath.Join(directory, "server.key")
	if _, err := os.Stat(certificate); err != nil {
		host, _, err := net.SplitHostPort(address)
		check(err)
		makeCertificate(directory, host, certificate, key)
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", registry(directory, user, password))
	files := http.StripPrefix("/charts/", http.FileServer(http.Dir(filepath.Join(directory, "charts"))))
	mux.Handle("/charts/", guarded(files, user, password))
	go func() { log.Fatal(http.ListenAndServe(plain, logged(mux))) }()
	log.Fatal(http.ListenAndServeTLS(address, certificate, key, logged(mux)))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// registry is distribution, with files for storage and htpasswd for access.
func registry(directory, user, password string) http.Handler {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	check(err)
	access := filepath.Join(directory, "htpasswd")
	check(os.WriteFile(access, fmt.Appendf(nil, "%s:%s\n", user, hash), 0o600))
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": filepath.Join(directory, "pushed")},
		},
		Auth: configuration.Auth{"htpasswd": configuration.Parameters{"realm": realm, "path": access}},
	}
	logrus.SetLevel(logrus.ErrorLevel) // each answer has a line already
	config.HTTP.RelativeURLs = true    // one registry, two addresses
	return handlers.NewApp(context.Background(), config)
}

// guarded asks for the login as distribution does.
func guarded(next http.Handler, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		givenUser, givenPassword, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(givenUser+":"+givenPassword), []byte(user+":"+password)) != 1 {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", realm))
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// logged writes a line for each answer: who (a user that was not let in is one too) asked for what, and the status.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, given := r.BasicAuth()
		if !given {
			user = "-"
		}
		answer := &answer{w, http.StatusOK}
		next.ServeHTTP(answer, r)
		log.Printf("%s %s %s %d", user, r.Method, r.URL.Path, answer.status)
	})
}

type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// makeCertificate makes a CA, whose key is thrown away, and a server's certificate for one address.
func makeCertificate(directory, host, certificate, key string) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := template(1, "test bed's CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caBytes, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(err)
	ca, err = x509.ParseCertificate(caBytes) // now with the key's name, without which strict clients refuse the server
	check(err)
	server := template(2, host)
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.IPAddresses = []net.IP{net.ParseIP(host)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serverBytes, err := x509.CreateCertificate(rand.Reader, server, ca, &serverKey.PublicKey, caKey)
	check(err)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(serverKey)
	check(err)
	write(filepath.Join(directory, "ca.crt"), "CERTIFICATE", caBytes, 0o644)
	write(key, "PRIVATE KEY", keyBytes, 0o600)
	write(certificate, "CERTIFICATE", serverBytes, 0o644)
}

func template(serial int64, name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
}

func write(path, kind string, content []byte, mode os.FileMode) {
	check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), mode))
}
