// Signs testdata/java/answer.xml with the XML signatures of the Java platform:
//
//   keytool -genkeypair -keystore ks.p12 -storepass changeit -alias rsa -keyalg RSA -keysize 2048 \
//     -dname CN=java-rsa -startdate "2026/11/20 00:00:00" -validity 3650
//   keytool -genkeypair -keystore ks.p12 -storepass changeit -alias ec -keyalg EC -groupname secp384r1 \
//     -dname CN=java-ec -startdate "2026/11/20 00:00:00" -validity 3650
//   java Sign.java answer.xml ks.p12 rsa METHOD-URI DIGEST-URI assertion|response|both OUT.xml
//
// The certificates go into testdata/metadata-java-*.xml, the answers into
// testdata/responses. The keys were thrown away.
import java.io.*;
import java.security.*;
import java.security.cert.Certificate;
import java.util.*;
import javax.xml.crypto.dsig.*;
import javax.xml.crypto.dsig.dom.DOMSignContext;
import javax.xml.crypto.dsig.keyinfo.*;
import javax.xml.crypto.dsig.spec.*;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.*;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.w3c.dom.*;

public class Sign {
    static final String SAML = "urn:oasis:names:tc:SAML:2.0:assertion";

    public static void main(String[] a) throws Exception {
        KeyStore ks = KeyStore.getInstance("PKCS12");
        ks.load(new FileInputStream(a[1]), "changeit".toCharArray());
        PrivateKey key = (PrivateKey) ks.getKey(a[2], "changeit".toCharArray());
        Certificate cert = ks.getCertificate(a[2]);
        DocumentBuilderFactory f = DocumentBuilderFactory.newInstance();
        f.setNamespaceAware(true);
        Document d = f.newDocumentBuilder().parse(new File(a[0]));
        Element assertion = (Element) d.getElementsByTagNameNS(SAML, "Assertion").item(0);
        if (!a[5].equals("response")) sign(assertion, key, cert, a[3], a[4]);
        if (!a[5].equals("assertion")) sign(d.getDocumentElement(), key, cert, a[3], a[4]);
        Transformer t = TransformerFactory.newInstance().newTransformer();
        try (OutputStream o = new FileOutputStream(a[6])) {
            t.transform(new DOMSource(d), new StreamResult(o));
        }
    }

    static void sign(Element el, PrivateKey key, Certificate cert, String method, String digest) throws Exception {
        el.setIdAttribute("ID", true);
        XMLSignatureFactory x = XMLSignatureFactory.getInstance("DOM");
        Reference ref = x.newReference("#" + el.getAttribute("ID"), x.newDigestMethod(digest, null), List.of(
            x.newTransform(Transform.ENVELOPED, (TransformParameterSpec) null),
            x.newTransform(CanonicalizationMethod.EXCLUSIVE, new ExcC14NParameterSpec(List.of("xs")))), null, null);
        SignedInfo info = x.newSignedInfo(
            x.newCanonicalizationMethod(CanonicalizationMethod.EXCLUSIVE, (C14NMethodParameterSpec) null),
            x.newSignatureMethod(method, null), List.of(ref));
        KeyInfoFactory k = x.getKeyInfoFactory();
        Node issuer = el.getElementsByTagNameNS(SAML, "Issuer").item(0);
        DOMSignContext c = new DOMSignContext(key, el, issuer.getNextSibling());
        c.setDefaultNamespacePrefix("dsig");
        x.newXMLSignature(info, k.newKeyInfo(List.of(k.newX509Data(List.of(cert))))).sign(c);
    }
}
