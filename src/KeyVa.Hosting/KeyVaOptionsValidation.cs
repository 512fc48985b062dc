using KeyVa.Client;
using Microsoft.Extensions.Options;

namespace KeyVa.Hosting;

/// <summary>Says what is wrong with <see cref="KeyVaOptions"/> before anything is opened. Stateless.</summary>
internal sealed class KeyVaOptionsValidation : IValidateOptions<KeyVaOptions>
{
    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, KeyVaOptions options)
    {
        List<string> wrong = [];
        if ((options.Data is null) == (options.Server is null))
        {
            wrong.Add("KeyVa: set Data (the folder of an embedded store) or Server (the address of one that runs), one of both");
        }

        CheckAddress(wrong, nameof(options.Server), options.Server);
        CheckAddress(wrong, nameof(options.Control), options.Control);
        if (options.Data is { Length: 0 })
        {
            wrong.Add("KeyVa: Data is empty; it is the path of a folder");
        }

        if (options is { Volatile: true, Engine: not EngineKind.Memory })
        {
            wrong.Add("KeyVa: Volatile goes with Engine Memory only");
        }

        if (options.Deadline <= TimeSpan.Zero || options.ConnectTimeout <= TimeSpan.Zero)
        {
            wrong.Add("KeyVa: Deadline and ConnectTimeout must be longer than nothing");
        }

        return wrong.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(wrong);
    }

    private static void CheckAddress(List<string> wrong, string setting, string? address)
    {
        try
        {
            _ = address is null ? null : ServerAddress.Parse(address, ServerAddress.ControlPort);
        }
        catch (FormatException e)
        {
            wrong.Add($"KeyVa: {setting} is '{address}': {e.Message}");
        }
    }
}
