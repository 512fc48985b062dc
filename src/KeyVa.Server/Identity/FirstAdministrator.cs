using System.Net;
using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>
/// What happens at a start without users: a first administrator is made if that was asked for, or the server listens on loopback alone. Used once.
/// </summary>
internal sealed class FirstAdministrator(UserStore users, ServerOptions options, ServerLog log)
{
    /// <summary>What the first administrator is called.</summary>
    public const string Name = "admin";

    /// <summary>Where its password may be, beside the file that a setting names.</summary>
    public const string PasswordVariable = "KEYVA_ADMIN_PASSWORD";

    private const string TokenName = "first";
    private const int MaxFileBytes = 4096;

    private static readonly Grant[] AllRights = [new(Plane.Data, Level.Admin, []), new(Plane.Control, Level.Admin, [])];

    /// <exception cref="ConfigurationException">The server would listen beyond loopback and let everybody in, or the password cannot be read.</exception>
    public async Task EnsureAsync()
    {
        if (!users.Current.IsOpen)
        {
            return;
        }

        if (Password() is { } password)
        {
            Require(await users.ChangeAsync(new UserChange.Add(Name, AllRights, password, [])));
            log.FirstAdministrator(Name);
        }
        else if (options.InitialAdmin == InitialAdmin.Token)
        {
            UserResult made = await users.ChangeAsync(new UserChange.Add(Name, AllRights, null, [], TokenName));
            Require(made);
            string path = users.WriteAdminToken(made.Secret!);
            log.FirstAdministratorToken(Name, path);
        }
        else if (Exposed() is { Length: > 0 } exposed)
        {
            throw new ConfigurationException(
                $"{string.Join(" and ", exposed)} would listen beyond loopback, and there are no users: everybody could read and write. Have a first administrator made "
                + $"(--initial-admin token, or --admin-password-file FILE, or {PasswordVariable}), or listen on 127.0.0.1");
        }
    }

    private string[] Exposed()
    {
        (string Setting, IPEndPoint Address)[] listeners =
        [
            ("rest-listen", options.RestListen), ("grpc-listen", options.GrpcListen), ("control-listen", options.ControlListen), ("resp-listen", options.RespListen),
        ];
        return [.. listeners.Where(static one => !IPAddress.IsLoopback(one.Address.Address)).Select(static one => $"'{one.Setting}' ({one.Address})")];
    }

    private string? Password()
    {
        if (options.AdminPasswordFile.Length == 0)
        {
            return string.IsNullOrEmpty(options.AdminPassword) ? null : options.AdminPassword;
        }

        try
        {
            using FileStream file = new(options.AdminPasswordFile, FileMode.Open, FileAccess.Read, FileShare.Read);
            byte[] bytes = new byte[MaxFileBytes];
            int read = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);

            // Editors and echo end a file with a newline, which is not meant.
            string password = Encoding.UTF8.GetString(bytes, 0, read).TrimEnd('\r', '\n');
            return password.Length > 0 ? password : throw new ConfigurationException($"the file '{options.AdminPasswordFile}' of the setting 'admin-password-file' is empty");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"cannot read the file of the setting 'admin-password-file': {e.Message}", e);
        }
    }

    private static void Require(in UserResult result)
    {
        if (result.Status != Status.Ok)
        {
            throw new ConfigurationException($"the first administrator cannot be made: {result.Detail}");
        }
    }
}
