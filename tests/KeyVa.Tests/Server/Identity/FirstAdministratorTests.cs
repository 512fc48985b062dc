using System.Diagnostics.CodeAnalysis;
using System.Net;
using KeyVa.Client;
using KeyVa.Io;
using KeyVa.Server;
using KeyVa.Server.Identity;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>What a start without users does, and what is left of users after a crash.</summary>
public sealed class FirstAdministratorTests
{
    [Fact]
    public async Task ListeningBeyondLoopbackWithoutUsersIsRefused()
    {
        ConfigurationException refused = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(static options => options with
        {
            AdminPassword = null,
            RespListen = new IPEndPoint(IPAddress.Any, 0),
        }));
        Assert.Contains("'resp-listen' (0.0.0.0:0)", refused.Message);
        Assert.DoesNotContain("rest-listen", refused.Message);
        Assert.Contains("--initial-admin token", refused.Message);
    }

    [Fact]
    public async Task WithAPasswordItIsNot()
    {
        await using SecuredServer server = await StartAsync(static options => options with { RespListen = new IPEndPoint(IPAddress.Any, 0) });
        Assert.Equal("admin", Assert.Single(await server.Admin.Users.ListAsync()).Name);
        Assert.DoesNotContain(server.Log.All, static line => line.Contains(AdminPassword, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ThePasswordMayStandInAFile()
    {
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, AdminPassword + "\n");
        await using (SecuredServer server = await StartAsync(options => options with { AdminPassword = null, AdminPasswordFile = file }))
        {
            Assert.Equal("admin", (await server.Admin.Users.WhoAmIAsync())!.Name);
        }

        File.Delete(file);
        ConfigurationException missing = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(options => options with { AdminPasswordFile = file }));
        Assert.Contains("admin-password-file", missing.Message);
    }

    [Fact]
    public async Task TheFirstTokenStandsInAFileAndEndsWithTheFirstPassword()
    {
        await using SecuredServer server = await StartAsync(static options => options with { AdminPassword = null, InitialAdmin = InitialAdmin.Token });
        string token = System.Text.Encoding.ASCII.GetString(IdentityTests.Read(server, "/data/ADMIN-TOKEN")).TrimEnd();
        Assert.Contains(server.Log.All, static line => line.Contains("/data/ADMIN-TOKEN", StringComparison.Ordinal));
        Assert.DoesNotContain(server.Log.All, line => line.Contains(token, StringComparison.Ordinal));
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Bearer(token)));
        await using RemoteControl first = server.Control(RemoteCredentials.Token(token));
        Assert.True(Assert.Single((await first.Users.WhoAmIAsync())!.Tokens).IsOneTime);

        await first.Users.SetPasswordAsync("admin", AdminPassword);
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", Bearer(token)));
        Assert.False(server.Files.FileExists("/data/ADMIN-TOKEN"));
        Assert.Empty((await server.Admin.Users.WhoAmIAsync())!.Tokens);
    }

    [Fact]
    public async Task UsersLastOverRestartsAndPowerLosses()
    {
        MemoryFileSystem files = new();
        await using (SecuredServer server = await StartAsync(files: files))
        {
            await server.Admin.Users.AddAsync("ada", Grants("data:read:a/", "control:read"), "pw", [$"sha256:{new string('a', 64)}", "subject:CN=ada"]);
        }

        for (int seed = 1; seed <= 20; seed++)
        {
            // Whatever a power loss leaves of what was not synced: users were.
            await using SecuredServer again = await StartAsync(files: files.AfterPowerLoss(seed));
            RemoteUser ada = (await again.Admin.Users.ListAsync()).Single(static user => user.Name == "ada");
            Assert.Equal(2, ada.Grants.Count);
            Assert.Equal(["sha256:" + new string('a', 64), "subject:CN=ada"], ada.Certificates);
            Assert.Equal(404, await again.StatusAsync("GET", "/kv/a%2F", Basic("ada", "pw")));
        }
    }

    [Fact]
    public async Task ARepairedFolderKeepsTheUsers()
    {
        MemoryFileSystem files = new();
        await using (await StartAsync(files: files))
        {
        }

        StoreRepair.Run("/data", "/repaired", new StoreEnvironment { FileSystem = files }, CancellationToken.None);
        Assert.Equal("admin", Assert.Single(UserFile.Read(files, "/repaired").All).Name);
        List<string> notes = [];
        StoreVerification.Run("/repaired", new StoreEnvironment { FileSystem = files }, notes.Add, CancellationToken.None);
        Assert.DoesNotContain(notes, static note => note.Contains("USERS", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ADamagedFileOfUsersLetsNobodyIn()
    {
        MemoryFileSystem files = new();
        await using (await StartAsync(files: files))
        {
        }

        files.Corrupt("/data/USERS", 60, 0x01);
        CorruptionException damage = await Assert.ThrowsAsync<CorruptionException>(() => StartAsync(files: files));
        Assert.Equal("/data/USERS", damage.File);
    }

    [Fact]
    [SuppressMessage("Interoperability", "CA1416", Justification = "KeyVa runs on Linux alone")]
    public void TheFileIsForItsOwnerAlone()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-users").FullName;
        UserFile.Write(new DiskFileSystem(), folder, new UserDirectory([new User("a", [])]));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(folder, UserFile.FileName)));
        Assert.Equal("a", Assert.Single(UserFile.Read(new DiskFileSystem(), folder).All).Name);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void AnUnknownFormatIsRefusedByName()
    {
        byte[] bytes = UserFile.Encode(UserDirectory.Empty);
        bytes["KEYVAUSERS ".Length] = (byte)'2';
        Assert.Contains("format version 2", Assert.Throws<StoreException>(() => UserFile.Decode("USERS", bytes)).Message);
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.ThrowsAny<StoreException>(() => UserFile.Decode("USERS", bytes.AsSpan(0, length)));
        }
    }
}
