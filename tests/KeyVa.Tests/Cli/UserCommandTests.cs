using System.Diagnostics.CodeAnalysis;
using System.Text;
using KeyVa.Cli;
using KeyVa.Server.Identity;
using KeyVa.Tests.Server.Identity;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>Users and profiles on the command line, against a real server in this process.</summary>
[SuppressMessage("Interoperability", "CA1416", Justification = "KeyVa runs on Linux alone")]
public sealed class UserCommandTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-users").FullName;
    private SecuredServer _server = null!;

    public async Task InitializeAsync() => _server = await SecuredServer.StartAsync(static options => options with { AdminPassword = null });

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task UsersAreMadeWithTheirPasswordsFromTheInput()
    {
        await Expect(0, "", "keyva: there are no users: everybody who reaches the server may do everything. 'keyva admin user add NAME --grant admin' ends that\n", "", "admin", "user", "list");
        await Expect(0, "user root: added; may data:admin control:admin\n", "", "root's\n", "admin", "user", "add", "root", "--grant", "admin");
        (int code, _, string error) = await Run("", "get", "k");
        Assert.Equal(ExitCode.Refused, code);
        Assert.Contains("this server has users", error);

        string rootFile = Secret("root", "root's");
        string[] root = ["--user", "root", "--password-file", rootFile];
        await Expect(0, "user ada: added; may data:write:a/\n", "", "ada's\n", ["admin", "user", "add", "ada", "--grant", "data:write:a/", .. root]);
        string[] ada = ["--user", "ada", "--password-file", Secret("ada", "ada's")];
        await Expect(0, null, "", "", ["set", "a/1", "x", .. ada]);
        await Expect(0, "x", "", "", ["get", "a/1", .. ada]);
        (code, _, error) = await Run("", ["get", "b", .. ada]);
        Assert.Equal(ExitCode.Refused, code);
        Assert.Contains("the user 'ada' may not do this with all of these keys", error);
        (code, _, error) = await Run("", ["admin", "user", "list", .. ada]);
        Assert.Equal(ExitCode.Refused, code);
        Assert.Contains("it takes control:admin", error);

        await Expect(0, "user ada: granted; may data:read control:read\n", "", "", ["admin", "user", "grant", "ada", "data:read", "control:read", .. root]);
        await Expect(0, "user ada: may data:read control:read\n", "", "", ["admin", "user", "whoami", .. ada]);
        await Expect(0, "user ada: has another password; may data:read control:read\n", "", "other\n", ["admin", "user", "passwd", "ada", .. root]);
        Assert.Equal(ExitCode.Refused, (await Run("", ["get", "a/1", .. ada])).Code);

        // Its own, for the old one.
        ada = ["--user", "ada", "--password-file", Secret("ada", "other")];
        (code, _, error) = await Run("mine\n", ["admin", "user", "passwd", "--old-password-file", Secret("old", "wrong"), .. ada]);
        Assert.Equal(ExitCode.Refused, code);
        Assert.Contains("the old password is wrong", error);
        await Expect(0, "user ada: has another password; may data:read control:read\n", "", "mine\n", ["admin", "user", "passwd", "--old-password-file", Secret("old", "other"), .. ada]);
        Assert.Equal(ExitCode.Refused, (await Run("", ["get", "a/1", .. ada])).Code);
        await Expect(0, "x", "", "", ["get", "a/1", "--user", "ada", "--password-file", Secret("ada", "mine")]);
        Assert.Equal(ExitCode.Usage, (await Run("", ["admin", "user", "passwd", "--none", .. root])).Code);
        Assert.Equal(ExitCode.Usage, (await Run("", ["admin", "user", "passwd", "ada", "--old-password-file", rootFile, .. root])).Code);
        (code, _, error) = await Run("mine\n", ["admin", "user", "passwd", .. root]);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("--old-password-file", error);
        (_, string table, _) = await Run("", ["admin", "user", "list", .. root]);
        Assert.Matches("^USER +GRANTS +PASSWORD +TOKENS +CERTIFICATES *\nada +data:read control:read +yes +- +- *\nroot +data:admin control:admin +yes +- +- *\n$", table);
        await Expect(0, "user ada: removed\n", "", "", ["admin", "user", "remove", "ada", .. root]);
        (code, _, error) = await Run("", ["admin", "user", "remove", "root", .. root]);
        Assert.Equal(ExitCode.Refused, code);
        Assert.Contains("the last user that can administer users", error);
        (code, _, error) = await Run("", ["admin", "user", "add", "x", "--no-password", "--grant", "everything", .. root]);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("'everything' is no grant", error);
    }

    [Fact]
    public async Task AProfileKeepsWhatNeedNotBeTyped()
    {
        await Expect(0, null, "", "root's\n", "admin", "user", "add", "root", "--grant", "admin");
        string token = Path.Combine(_folder, "token");
        await Expect(0, "", "", "", "admin", "user", "token", "root", "laptop", "--output", token, "--user", "root", "--password-file", Secret("root", "root's"));
        Assert.StartsWith(AccessToken.TextPrefix, await File.ReadAllTextAsync(token));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(token));

        string profile = Path.Combine(_folder, "p.json");
        await Expect(0, profile + "\n", "", "", "profile", "save", profile, "--token-file", token);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(profile));
        await Expect(0, null, "", "", "set", "k", "v", "--profile", profile);
        await Expect(0, "v", "", "", "get", "k", "--profile", profile);

        File.SetUnixFileMode(profile, UnixFileMode.UserRead | UnixFileMode.GroupRead);
        (int code, _, string error) = await Run("", "get", "k", "--profile", profile);
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("chmod 600", error);
        (code, _, error) = await Run("", "get", "k", "--profile", "none-of-this-name");
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("there is no profile 'none-of-this-name'", error);
    }

    [Fact]
    public async Task WithoutATerminalAPasswordIsNotAskedFor()
    {
        (int code, _, string error) = await Run("secret\n", "get", "k", "--user", "ada");
        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("--password-file", error);
    }

    private string Secret(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text + "\n");
        return path;
    }

    private async Task Expect(int code, string? output, string error, string input, params string[] arguments)
    {
        (int ended, string written, string said) = await Run(input, arguments);
        Assert.Equal((code, output ?? written, error), (ended, written, said));
    }

    private async Task<(int Code, string Output, string Error)> Run(string input, params string[] arguments)
    {
        using MemoryStream output = new();
        using StringWriter error = new() { NewLine = "\n" };
        using Terminal terminal = new(new MemoryStream(Encoding.UTF8.GetBytes(input)), output, error);
        using Interrupts interrupts = new(listen: false);
        await using Session session = new(terminal, interrupts);
        string[] addresses = ["--server", _server.Server.GrpcAddress.ToString(), "--control", _server.Server.ControlAddress.ToString()];
        int code = await CommandRunner.RunAsync(session, [.. arguments, .. addresses], CancellationToken.None);
        return (code, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }
}
