using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>
/// A name and a secret as a table may keep them: their HMAC-SHA-256 under a key that only this process has, so that it tells nothing of the secret.
/// Comparing takes the same time wherever two differ. Immutable.
/// </summary>
internal readonly struct CredentialDigest : IEquatable<CredentialDigest>
{
    private readonly UInt128 _first;
    private readonly UInt128 _second;

    /// <param name="key">The key of this process.</param>
    /// <param name="name">Whom the secret is said to be of.</param>
    /// <param name="secret">What was sent as proof.</param>
    public CredentialDigest(ReadOnlySpan<byte> key, string name, string secret)
    {
        // The length of the name stands before it, so that no other pair makes the same bytes.
        byte[] text = new byte[sizeof(int) + Encoding.UTF8.GetByteCount(name) + Encoding.UTF8.GetByteCount(secret)];
        int length = Encoding.UTF8.GetBytes(name, text.AsSpan(sizeof(int)));
        BinaryPrimitives.WriteInt32LittleEndian(text, length);
        Encoding.UTF8.GetBytes(secret, text.AsSpan(sizeof(int) + length));
        Span<byte> hash = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, text, hash);
        CryptographicOperations.ZeroMemory(text);
        _first = BinaryPrimitives.ReadUInt128LittleEndian(hash);
        _second = BinaryPrimitives.ReadUInt128LittleEndian(hash[16..]);
    }

    public bool Equals(CredentialDigest other) => ((_first ^ other._first) | (_second ^ other._second)) == UInt128.Zero;

    public override bool Equals(object? obj) => obj is CredentialDigest other && Equals(other);

    public override int GetHashCode() => _first.GetHashCode();
}
