// A relying party on Nimbus' OAuth 2.0 SDK: it finds everything by discovery,
// prints the address that a browser has to open, waits for the answer on
// loopback, and prints what it learned. It knows nothing of Carnet.
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.util.DefaultResourceRetriever;
import com.nimbusds.oauth2.sdk.*;
import com.nimbusds.oauth2.sdk.auth.*;
import com.nimbusds.oauth2.sdk.id.*;
import com.nimbusds.oauth2.sdk.pkce.*;
import com.nimbusds.oauth2.sdk.token.*;
import com.nimbusds.openid.connect.sdk.*;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import com.nimbusds.openid.connect.sdk.validators.IDTokenValidator;
import com.sun.net.httpserver.HttpServer;
import java.net.*;
import java.util.*;
import java.util.concurrent.CountDownLatch;

public class RP {
  public static void main(String[] args) throws Exception {
    String issuer = args[0], redirect = args[3];
    ClientID client = new ClientID(args[1]);
    OIDCProviderMetadata op = OIDCProviderMetadata.resolve(new Issuer(issuer));
    ClientAuthentication secret = new ClientSecretBasic(client, new Secret(args[2]));
    CodeVerifier verifier = new CodeVerifier();
    State state = new State();
    Nonce nonce = new Nonce();
    URI open = new AuthenticationRequest.Builder(new ResponseType("code"), new Scope("openid", "profile", "email", "offline_access"), client, URI.create(redirect))
        .endpointURI(op.getAuthorizationEndpointURI()).state(state).nonce(nonce)
        .codeChallenge(verifier, CodeChallengeMethod.S256).build().toURI();

    CountDownLatch done = new CountDownLatch(1);
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", URI.create(redirect).getPort()), 0);
    server.createContext("/", exchange -> {
      String out;
      try {
        AuthenticationResponse answer = AuthenticationResponseParser.parse(URI.create(redirect + "?" + exchange.getRequestURI().getRawQuery()));
        if (!answer.indicatesSuccess()) throw new Exception(answer.toErrorResponse().getErrorObject().toString());
        if (!answer.getState().equals(state)) throw new Exception("state");
        if (!op.getIssuer().equals(answer.getIssuer())) throw new Exception("iss " + answer.getIssuer());
        OIDCTokenResponse tokens = (OIDCTokenResponse) OIDCTokenResponseParser.parse(new TokenRequest.Builder(op.getTokenEndpointURI(), secret,
            new AuthorizationCodeGrant(answer.toSuccessResponse().getAuthorizationCode(), URI.create(redirect), verifier)).build().toHTTPRequest().send());
        var claims = new IDTokenValidator(op.getIssuer(), client, JWSAlgorithm.RS256, op.getJWKSetURI().toURL(), new DefaultResourceRetriever(5000, 5000))
            .validate(tokens.getOIDCTokens().getIDToken(), nonce);
        UserInfoResponse user = UserInfoResponse.parse(new UserInfoRequest(op.getUserInfoEndpointURI(), tokens.getOIDCTokens().getBearerAccessToken()).toHTTPRequest().send());
        if (!user.indicatesSuccess()) throw new Exception("userinfo " + user.toErrorResponse().getErrorObject());
        TokenResponse again = TokenResponse.parse(new TokenRequest.Builder(op.getTokenEndpointURI(), secret,
            new RefreshTokenGrant(tokens.getTokens().getRefreshToken())).build().toHTTPRequest().send());
        if (!again.indicatesSuccess()) throw new Exception("refresh " + again.toErrorResponse().getErrorObject());
        TokenIntrospectionResponse live = TokenIntrospectionResponse.parse(new TokenIntrospectionRequest(op.getIntrospectionEndpointURI(), secret,
            again.toSuccessResponse().getTokens().getAccessToken()).toHTTPRequest().send());
        out = "{\"claims\":" + claims.toJSONObject() + ",\"user\":" + user.toSuccessResponse().getUserInfo().toJSONObject()
            + ",\"active\":" + live.toSuccessResponse().isActive() + "}";
      } catch (Exception e) {
        out = "{\"error\":\"" + (e + "").replace("\\", "/").replace("\"", "'").replace("\n", " ") + "\"}";
      }
      System.out.println(out);
      exchange.sendResponseHeaders(200, -1);
      exchange.close();
      done.countDown();
    });
    server.start();
    System.out.println("{\"open\":\"" + open + "\"}");
    done.await();
    server.stop(0);
  }
}
