using System.Globalization;
using System.Text;
using KeyVa.Io;
using KeyVa.Server;
using KeyVa.Server.Identity;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>What comes from strangers before they are known, and the file of users: an answer or a refusal with words.</summary>
public sealed class IdentityFuzzTests : Fuzzing
{
    private static readonly byte[][] Headers = Texts(
        "Basic YWRhOnB3", "Basic", "basic YWRh", "Bearer kvt_" + new string('a', 64), "Bearer x", "Basic OjpA", "Digest a=b", "Basic //8=");

    private static readonly byte[][] Grants = Texts("data:read:orders/", "control:admin", "admin", "data:write:a:b", "control:read:x", "data:none");

    private static readonly byte[][] Bodies = Texts(
        """{"grants": ["data:read:a/", {"plane": "data", "role": "admin", "prefix64": "AP8="}], "password": "pw", "certificates": ["subject:CN=a, O=b"]}""",
        """{"password": "\ud83d"}""", """{"grants": {}}""", """{"grants": [1]}""", """{"password": null, "password": 1}""", "[]");

    [Fact]
    public void CredentialsAreReadOrNot() => Run(60_000, Headers, static (input, _) =>
    {
        if (HttpCredentials.TryRead(Encoding.Latin1.GetString(input), out string name, out string secret))
        {
            Assert.True(name.Length + secret.Length <= input.Length);
        }
    });

    [Fact]
    public void GrantsAreReadAsTheyAreWritten() => Run(60_000, Grants, static (input, _) =>
    {
        List<Grant> grants = [];
        string text = Encoding.UTF8.GetString(input);
        if (!Grant.TryParse(text, grants, out string? wrong))
        {
            Assert.NotEmpty(wrong);
            return;
        }

        foreach (Grant grant in grants)
        {
            List<Grant> again = [];
            Assert.True(Grant.TryParse(grant.ToString(), again, out _));
            Assert.Equal(grant.Prefix, Assert.Single(again).Prefix);
        }
    });

    [Fact]
    public void BodiesOfUsersAreReadOrRefusedWithWords() => Run(60_000, Bodies, static (input, _) =>
    {
        if (!JsonUser.TryRead(input, "ada", out _, out string wrong) && wrong.Length == 0)
        {
            Assert.Fail("refused without a word");
        }

        _ = JsonUser.TryReadPassword(input, out _, out _);
    });

    [Fact]
    public void FilesOfUsersAreReadOrDamaged()
    {
        byte[] file = UserFile.Encode(new UserDirectory(
        [
            new User("ada", [new Grant(Plane.Data, Level.Write, [1, 2, 255])])
            {
                Password = PasswordHash.Create("pw", PasswordHash.MinIterations),
                Tokens = [new AccessToken("ci", AccessToken.HashOf("x"), isOneTime: true, 7)],
                Certificates = ["subject:CN=ada"],
            },
            new User("bob", []),
        ]));
        Run(20_000, [file], static (input, random) =>
        {
            // Half of them with a checksum that fits again, so that what stands behind it is reached.
            int end = input.AsSpan().IndexOf((byte)'\n');
            byte[] bytes = end < 0 || random.Next(2) == 0 ? input : [.. Encoding.ASCII.GetBytes(string.Create(
                CultureInfo.InvariantCulture, $"KEYVAUSERS 1 {Crc32C.Compute(input.AsSpan(end + 1)):x8}\n")), .. input.AsSpan(end + 1)];
            try
            {
                _ = UserFile.Decode("USERS", bytes);
            }
            catch (StoreException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        });
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];
}
