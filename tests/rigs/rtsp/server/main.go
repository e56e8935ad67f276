// A server that passes on what is published to it, one stream to a path, and says on stdout what it
// is asked. Readers have to log in where it is told a user; publishers need not.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"
)

type relay struct {
	server         *gortsplib.Server
	user, password string
	methods        []headers.AuthMethod
	nonce          string

	mutex      sync.Mutex
	streams    map[string]*gortsplib.ServerStream
	publishers map[*gortsplib.ServerSession]string
}

func answer(code base.StatusCode) *base.Response {
	return &base.Response{StatusCode: code}
}

// OnRequest says what was asked, and whether with a login.
func (r *relay) OnRequest(_ *gortsplib.ServerConn, request *base.Request) {
	login := ""
	if _, ok := request.Header["Authorization"]; ok {
		login = " login"
	}
	fmt.Printf("%s %s%s\n", request.Method, request.URL.Path, login)
}

func (r *relay) find(path string, request *base.Request) (
	*base.Response, *gortsplib.ServerStream, error,
) {
	if r.user != "" &&
		auth.Validate(request, r.user, r.password, nil, r.methods, "cam", r.nonce) != nil {
		refused := answer(base.StatusUnauthorized)
		refused.Header = base.Header{
			"WWW-Authenticate": auth.GenerateWWWAuthenticate(r.methods, "cam", r.nonce),
		}
		return refused, nil, nil
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	stream := r.streams[path]
	if stream == nil {
		return answer(base.StatusNotFound), nil, nil
	}
	return answer(base.StatusOK), stream, nil
}

func (r *relay) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (
	*base.Response, *gortsplib.ServerStream, error,
) {
	return r.find(ctx.Path, ctx.Request)
}

func (r *relay) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (
	*base.Response, *gortsplib.ServerStream, error,
) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return answer(base.StatusOK), nil, nil
	}
	return r.find(ctx.Path, ctx.Request)
}

func (r *relay) OnPlay(_ *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return answer(base.StatusOK), nil
}

func (r *relay) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.streams[ctx.Path] = gortsplib.NewServerStream(r.server, ctx.Description)
	r.publishers[ctx.Session] = ctx.Path
	return answer(base.StatusOK), nil
}

func (r *relay) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	r.mutex.Lock()
	stream := r.streams[ctx.Path]
	r.mutex.Unlock()
	ctx.Session.OnPacketRTPAny(func(media *description.Media, _ format.Format, packet *rtp.Packet) {
		_ = stream.WritePacketRTP(media, packet)
	})
	fmt.Printf("published %s\n", ctx.Path)
	return answer(base.StatusOK), nil
}

func (r *relay) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if path, ok := r.publishers[ctx.Session]; ok {
		r.streams[path].Close()
		delete(r.streams, path)
		delete(r.publishers, ctx.Session)
	}
}

func main() {
	address := flag.String("address", "", "host:port to listen at")
	user := flag.String("user", "", "whom readers have to be; empty: anybody")
	password := flag.String("password", "", "what they know")
	basic := flag.Bool("basic", false, "Basic in place of Digest")
	flag.Parse()
	method := headers.AuthDigest
	if *basic {
		method = headers.AuthBasic
	}
	nonce, err := auth.GenerateNonce()
	if err != nil {
		panic(err)
	}
	r := &relay{
		user:       *user,
		password:   *password,
		methods:    []headers.AuthMethod{method},
		nonce:      nonce,
		streams:    map[string]*gortsplib.ServerStream{},
		publishers: map[*gortsplib.ServerSession]string{},
	}
	r.server = &gortsplib.Server{Handler: r, RTSPAddress: *address}
	if err := r.server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("serving")
	panic(r.server.Wait())
}
