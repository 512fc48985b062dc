using System.Runtime.Versioning;
using KeyVa.Cluster.Transport.ZeroMq;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

[UnsupportedOSPlatform("windows")]
public sealed class NodeKeysTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-keys-").FullName;

    private string File => Path.Combine(_folder, "node.key");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void KeysAreReadAsWritten()
    {
        NodeKeys keys = NodeKeys.Create();
        keys.Save(File);
        NodeKeys read = NodeKeys.Load(File);
        Assert.Equal(keys.PublicKey, read.PublicKey);
        Assert.True(keys.Secret.SequenceEqual(read.Secret));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, System.IO.File.GetUnixFileMode(File));
        Assert.NotEqual(keys.PublicKey, NodeKeys.Create().PublicKey);
    }

    [Fact]
    public void NoTextOfThemHasTheSecret()
    {
        NodeKeys keys = NodeKeys.Create();
        Assert.Equal(keys.PublicKey, keys.ToString());
        Assert.Equal(keys.PublicKey, $"{keys}");
    }

    [Fact]
    public void KeysAreNeverWrittenOver()
    {
        NodeKeys.Create().Save(File);
        byte[] before = System.IO.File.ReadAllBytes(File);
        Assert.Contains("never written over", Assert.Throws<StoreException>(() => NodeKeys.Create().Save(File)).Message, StringComparison.Ordinal);
        Assert.Equal(before, System.IO.File.ReadAllBytes(File));
    }

    [Theory]
    [InlineData(UnixFileMode.GroupRead)]
    [InlineData(UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.GroupWrite)]
    public void AFileThatOthersCanReadIsRefused(UnixFileMode more)
    {
        NodeKeys.Create().Save(File);
        System.IO.File.SetUnixFileMode(File, System.IO.File.GetUnixFileMode(File) | more);
        Assert.Contains("chmod 600", Assert.Throws<StoreException>(() => NodeKeys.Load(File)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DamageIsNoticed()
    {
        NodeKeys keys = NodeKeys.Create();
        keys.Save(File);
        string text = System.IO.File.ReadAllText(File);
        string secret = Z85.Encode(keys.Secret);
        foreach (string damaged in new[] { "", "something else", text.Replace(secret, Z85.Encode(new byte[32]), StringComparison.Ordinal), text.Replace(secret, "x", StringComparison.Ordinal) })
        {
            System.IO.File.WriteAllText(File, damaged);
            StoreException refused = Assert.Throws<StoreException>(() => NodeKeys.Load(File));
            Assert.Contains("keyva keygen", refused.Message, StringComparison.Ordinal);
            Assert.DoesNotContain(secret, refused.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void AMissingFileNamesTheCommand() =>
        Assert.Contains("keyva keygen", Assert.Throws<StoreException>(() => NodeKeys.Load(File)).Message, StringComparison.Ordinal);

    [Fact]
    public void Z85IsAsItsStandardSays()
    {
        byte[] bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        Assert.Equal("HelloWorld", Z85.Encode(bytes));
        byte[] decoded = new byte[8];
        Assert.True(Z85.TryDecode("HelloWorld", decoded));
        Assert.Equal(bytes, decoded);
        Assert.False(Z85.TryDecode("HelloWorl", decoded));
        Assert.False(Z85.TryDecode("HelloWorl~", decoded));
        // One more than four bytes hold.
        Assert.False(Z85.TryDecode("%nSc1", new byte[4]));
        Assert.True(Z85.TryDecode("%nSc0", new byte[4]));
    }

    [Fact]
    public void AMissingLibraryNamesItsPackage() =>
        Assert.Contains("libzmq5", Assert.Throws<StoreException>(() => ZmqLibrary.Require("libzmq-of-nobody.so.5")).Message, StringComparison.Ordinal);
}
