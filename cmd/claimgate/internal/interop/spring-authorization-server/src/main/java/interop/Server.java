package interop;

import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.proc.SecurityContext;
import java.io.File;
import java.time.Duration;
import java.util.List;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.core.userdetails.User;
import org.springframework.security.core.userdetails.UserDetailsService;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.jwt.JwtEncoder;
import org.springframework.security.oauth2.jwt.NimbusJwtEncoder;
import org.springframework.security.oauth2.server.authorization.OAuth2TokenType;
import org.springframework.security.oauth2.server.authorization.client.InMemoryRegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClient;
import org.springframework.security.oauth2.server.authorization.client.RegisteredClientRepository;
import org.springframework.security.oauth2.server.authorization.settings.ClientSettings;
import org.springframework.security.oauth2.server.authorization.settings.OAuth2TokenFormat;
import org.springframework.security.oauth2.server.authorization.settings.TokenSettings;
import org.springframework.security.oauth2.server.authorization.token.JwtEncodingContext;
import org.springframework.security.oauth2.server.authorization.token.OAuth2TokenCustomizer;
import org.springframework.security.provisioning.InMemoryUserDetailsManager;

/**
 * A Spring Authorization Server as people make one: its defaults, an audience and roles.
 * Its keys, a set of private JWKs, are read from the file of the variable KEYS each time
 * they are needed; the first one signs.
 */
@SpringBootApplication
public class Server {
    public static void main(String[] args) {
        SpringApplication.run(Server.class, args);
    }

    @Bean
    JWKSource<SecurityContext> keys() {
        File file = new File(System.getenv("KEYS"));
        return (selector, context) -> {
            try {
                return selector.select(JWKSet.load(file));
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        };
    }

    /** Several keys fit while one is replaced by another; without a choice that is an error. */
    @Bean
    JwtEncoder encoder(JWKSource<SecurityContext> keys) {
        NimbusJwtEncoder encoder = new NimbusJwtEncoder(keys);
        encoder.setJwkSelector(fitting -> fitting.get(0));
        return encoder;
    }

    /** Spring's own audience is the client, which the client "elsewhere" keeps. */
    @Bean
    OAuth2TokenCustomizer<JwtEncodingContext> claims() {
        return context -> {
            String client = context.getRegisteredClient().getClientId();
            if (OAuth2TokenType.ACCESS_TOKEN.equals(context.getTokenType()) && !client.equals("elsewhere")) {
                context.getClaims().audience(List.of("orders-api")).claim("roles", List.of("packer", "driver"));
            }
        };
    }

    /** Where the keys of the client "self-signed" are is told by the test that has it. */
    @Bean
    RegisteredClientRepository clients(@Value("${self-signed.keys:http://127.0.0.1/keys}") String keys) {
        return new InMemoryRegisteredClientRepository(
            machine("worker", TokenSettings.builder()),
            machine("elsewhere", TokenSettings.builder()),
            machine("hasty", TokenSettings.builder().accessTokenTimeToLive(Duration.ofSeconds(1))),
            machine("opaque", TokenSettings.builder().accessTokenFormat(OAuth2TokenFormat.REFERENCE)),
            client("shop").authorizationGrantType(AuthorizationGrantType.AUTHORIZATION_CODE)
                .redirectUri("http://127.0.0.1/callback").scope("openid").build(),
            client("middle").authorizationGrantType(AuthorizationGrantType.TOKEN_EXCHANGE)
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS).scope("orders.read").build(),
            certified("machine", ClientAuthenticationMethod.TLS_CLIENT_AUTH,
                ClientSettings.builder().x509CertificateSubjectDN("CN=machine")),
            certified("self-signed", ClientAuthenticationMethod.SELF_SIGNED_TLS_CLIENT_AUTH,
                ClientSettings.builder().jwkSetUrl(keys)));
    }

    private static RegisteredClient machine(String id, TokenSettings.Builder settings) {
        return client(id).authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
            .scope("orders.read").tokenSettings(settings.build()).build();
    }

    /** A client that has a certificate, to which its tokens are bound, and no secret. */
    private static RegisteredClient certified(String id, ClientAuthenticationMethod method, ClientSettings.Builder settings) {
        return RegisteredClient.withId(id).clientId(id).clientAuthenticationMethod(method).clientSettings(settings.build())
            .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS).scope("orders.read")
            .tokenSettings(TokenSettings.builder().x509CertificateBoundAccessTokens(true).build()).build();
    }

    private static RegisteredClient.Builder client(String id) {
        return RegisteredClient.withId(id).clientId(id).clientSecret("{noop}" + id + "-secret")
            .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_BASIC);
    }

    @Bean
    UserDetailsService users() {
        return new InMemoryUserDetailsManager(User.withUsername("alice").password("{noop}alice-password").roles("USER").build());
    }
}
