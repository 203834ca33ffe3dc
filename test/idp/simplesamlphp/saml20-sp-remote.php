<?php
$s = json_decode(file_get_contents(__DIR__ . '/settings.json'), true);
if (isset($s['sp'])) {
    $sp = $s['sp'];
    $keys = [];
    foreach ($sp['signing'] as $certificate) {
        $keys[] = ['type' => 'X509Certificate', 'signing' => true, 'encryption' => false, 'X509Certificate' => $certificate];
    }
    if ($sp['encryption'] !== '') {
        $keys[] = ['type' => 'X509Certificate', 'signing' => false, 'encryption' => true, 'X509Certificate' => $sp['encryption']];
    }
    $metadata[$sp['url']] = [
        'AssertionConsumerService' => $sp['url'],
        'SingleLogoutService' => [
            ['Binding' => 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST', 'Location' => $sp['url']],
        ],
        'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
        'simplesaml.attributes' => true,
        'saml20.sign.assertion' => $sp['sign_assertion'],
        'saml20.sign.response' => $sp['sign_response'],
        'assertion.encryption' => $sp['cipher'] !== '',
        'sharedkey_algorithm' => $sp['cipher'] ?: 'http://www.w3.org/2009/xmlenc11#aes128-gcm',
        'validate.authnrequest' => $sp['validate'],
        'validate.logout' => $sp['signing'] !== [],
        'sign.logout' => true,
        'keys' => $keys,
    ];
}
