using System.Text;
using KeyVa.Io;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// A node's pair of CURVE keys (Curve25519, 32 bytes each). The public one is what the other nodes know it by; the secret one stays in a
/// file that nobody else may read, and is never printed. Immutable.
/// </summary>
internal sealed class NodeKeys
{
    /// <summary>Bytes of a key.</summary>
    public const int KeyBytes = 32;

    /// <summary>Characters of a key as text (Z85).</summary>
    public const int KeyCharacters = 40;

    private const string Header = "keyva-node-keys 1";
    private const int MostFileBytes = 4096;

    private readonly byte[] _secret;

    private NodeKeys(byte[] secret, string publicKey)
    {
        _secret = secret;
        PublicKey = publicKey;
    }

    /// <summary>The public key as text: what the configuration of the other nodes says of this one.</summary>
    public string PublicKey { get; }

    /// <summary>The secret key's bytes, for libzmq alone.</summary>
    internal ReadOnlySpan<byte> Secret => _secret;

    /// <summary>Whether a text has the form of a public key.</summary>
    public static bool IsPublicKey(string text) => Z85.TryDecode(text, stackalloc byte[KeyBytes]);

    /// <summary>A new pair.</summary>
    public static unsafe NodeKeys Create()
    {
        ZmqLibrary.RequireEncryption();
        byte* publicText = stackalloc byte[KeyCharacters + 1];
        byte* secretText = stackalloc byte[KeyCharacters + 1];
        if (Zmq.CreateKeys(publicText, secretText) != 0)
        {
            throw Zmq.Failure("making a pair of keys");
        }

        return FromSecret(Encoding.ASCII.GetString(secretText, KeyCharacters)) ?? throw new StoreException("libzmq made a key that is none");
    }

    /// <summary>Writes the pair to a file of its own, readable by its owner alone (mode 0600); the file must not exist.</summary>
    public void Save(string path)
    {
        string text = $"{Header}\n# The secret key is this node: whoever can read it can pass for the node.\npublic {PublicKey}\nsecret {Z85.Encode(_secret)}\n";
        string whole = Path.GetFullPath(path);
        try
        {
            // Files of the store are for their owner alone (0600) from their making on.
            using StorageFile file = DiskFileSystem.Instance.Create(whole);
            file.Write(0, Encoding.ASCII.GetBytes(text));
            file.Sync();
            DiskFileSystem.Instance.SyncDirectory(Path.GetDirectoryName(whole) ?? "/");
        }
        catch (StorageException failure) when (failure.Errno == Posix.Exists)
        {
            throw new StoreException($"'{path}' exists, and keys are never written over; name another file, or move that one away", failure);
        }
    }

    /// <summary>Reads a pair that <see cref="Save"/> wrote; refuses a file that others can read, and one whose keys do not belong together.</summary>
    public static NodeKeys Load(string path)
    {
        string[] lines = Read(path).Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (lines.Length == 0 || lines[0] != Header)
        {
            throw new StoreException($"'{path}' is no file of node keys (it does not begin with '{Header}'); make one with 'keyva keygen'");
        }

        string publicKey = ValueOf(lines, "public ");
        NodeKeys? keys = FromSecret(ValueOf(lines, "secret "));
        return keys is not null && keys.PublicKey == publicKey
            ? keys
            : throw new StoreException($"'{path}' is damaged: its public key is not that of its secret key; restore it, or make a new one with 'keyva keygen'");
    }

    /// <summary>The public key alone.</summary>
    public override string ToString() => PublicKey;

    private static unsafe NodeKeys? FromSecret(string secretText)
    {
        ZmqLibrary.RequireEncryption();
        byte[] secret = new byte[KeyBytes];
        if (!Z85.TryDecode(secretText, secret))
        {
            return null;
        }

        byte* publicText = stackalloc byte[KeyCharacters + 1];
        byte* text = stackalloc byte[KeyCharacters + 1];
        Encoding.ASCII.GetBytes(secretText, new Span<byte>(text, KeyCharacters));
        text[KeyCharacters] = 0;
        return Zmq.PublicKeyOf(publicText, text) == 0
            ? new NodeKeys(secret, Encoding.ASCII.GetString(publicText, KeyCharacters))
            : throw Zmq.Failure("computing a public key");
    }

    private static string Read(string path)
    {
        try
        {
            if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & ~(UnixFileMode.UserRead | UnixFileMode.UserWrite)) != 0)
            {
                throw new StoreException($"'{path}' holds a secret key and is open to others than its owner; take that back with 'chmod 600 {path}'");
            }

            using FileStream file = File.OpenRead(path);
            if (file.Length > MostFileBytes)
            {
                throw new StoreException($"'{path}' is no file of node keys: it has {file.Length} bytes; make one with 'keyva keygen'");
            }

            byte[] bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return Encoding.ASCII.GetString(bytes);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"the node's keys cannot be read from '{path}': {failure.Message}; make them with 'keyva keygen {path}'", failure);
        }
    }

    private static string ValueOf(string[] lines, string name) => lines.FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..] ?? "";
}
